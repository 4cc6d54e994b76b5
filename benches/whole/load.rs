//! The sender, in a process of its own: keep-alive connections that send one delivery after the
//! other (closed loop), or at fixed times whatever the answers do (open loop).
//!
//! In the open loop a delivery's time runs from when it was due, not from when it could be sent: a
//! target that stalls makes all that was due meanwhile late, and that is counted.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, mpsc};
use tokio::task::LocalSet;

use crate::delivery::{Delivery, Events};

/// No answer is larger.
const ANSWER_BYTES: usize = 4096;

/// What to send.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Load {
    /// To whom.
    pub address: SocketAddr,
    /// Over how many connections.
    pub connections: usize,
    /// Bytes of a body.
    pub body_bytes: usize,
    /// How many objects the events are about; 0 for one each.
    pub objects: u64,
    /// Deliveries a second in the open loop; none for the closed one.
    pub rate: Option<u32>,
    /// Sent before anything is counted.
    pub warm_up: Duration,
    /// How long is counted.
    pub lasting: Duration,
    /// The end, should it come sooner.
    pub most: u64,
}

/// What came of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sent {
    /// Answered 200, from the first to the last.
    pub accepted: u64,
    /// Answered anything else.
    pub refused: u64,
    /// Answered 200 in the time that counts.
    pub counted: u64,
    /// That time.
    pub seconds: f64,
    /// Of an answer, in that time.
    pub latency: Latency,
}

/// Percentiles, in microseconds.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Latency {
    /// The median.
    pub p50: f64,
    /// One in a hundred is above.
    pub p99: f64,
    /// One in a thousand is above.
    pub p999: f64,
    /// None is above.
    pub longest: f64,
}

impl Latency {
    /// The percentiles of these nanoseconds.
    pub fn of(nanoseconds: &Histogram<u64>) -> Self {
        #[allow(clippy::cast_precision_loss, reason = "microseconds to read")]
        let at = |quantile| nanoseconds.value_at_quantile(quantile) as f64 / 1000.0;
        Self {
            p50: at(0.5),
            p99: at(0.99),
            p999: at(0.999),
            longest: at(1.0),
        }
    }
}

/// A histogram of nanoseconds up to a minute, to three digits.
pub fn nanoseconds() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("these bounds are possible")
}

/// Notes a duration.
pub fn note(histogram: &mut Histogram<u64>, took: Duration) {
    histogram.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
}

impl Load {
    /// The same, to somebody else.
    pub fn to(&self, address: SocketAddr) -> Self {
        Self {
            address,
            ..self.clone()
        }
    }

    /// Sends it all, on this thread.
    pub fn send(self) -> anyhow::Result<Sent> {
        raise_descriptors();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        LocalSet::new().block_on(&runtime, self.run())
    }

    async fn run(self) -> anyhow::Result<Sent> {
        let mut connections = Vec::with_capacity(self.connections);
        let delivery = Delivery::new(Events::from_now(self.objects), self.body_bytes);
        for _ in 0..self.connections {
            connections.push(Connection::open(self.address, delivery.clone()).await?);
        }
        let counts = Rc::new(Counts::from(Instant::now() + self.warm_up, &self));
        let due = self.rate.map(|rate| Rc::new(Mutex::new(pace(rate))));
        let tasks = connections.into_iter().map(|connection| {
            let (counts, due) = (Rc::clone(&counts), due.clone());
            tokio::task::spawn_local(async move {
                match due {
                    None => connection.at_once(&counts).await,
                    Some(due) => connection.when_due(&counts, &due).await,
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await??;
        }
        Ok(counts.sent())
    }
}

/// When deliveries are due. A thread of its own keeps the time: the runtime's clock has the grain of
/// a millisecond, which would be most of what is measured.
fn pace(rate: u32) -> mpsc::Receiver<Instant> {
    // A second of deliveries may be late; a sender that is further behind has failed.
    let (sender, due) = mpsc::channel(rate as usize);
    std::thread::spawn(move || {
        let begin = Instant::now();
        for number in 0.. {
            let at = begin + Duration::from_secs_f64(f64::from(number) / f64::from(rate));
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
            if sender.blocking_send(at).is_err() {
                return;
            }
        }
    });
    due
}

struct Counts {
    from: Instant,
    until: Instant,
    most: u64,
    next: Cell<u64>,
    accepted: Cell<u64>,
    refused: Cell<u64>,
    counted: Cell<u64>,
    last: Cell<Instant>,
    latency: RefCell<Histogram<u64>>,
}

impl Counts {
    fn from(from: Instant, load: &Load) -> Self {
        Self {
            from,
            until: from + load.lasting,
            most: load.most,
            next: Cell::new(0),
            accepted: Cell::new(0),
            refused: Cell::new(0),
            counted: Cell::new(0),
            last: Cell::new(from),
            latency: RefCell::new(nanoseconds()),
        }
    }

    /// The number of the next event, while there is one.
    fn next(&self) -> Option<u64> {
        let number = self.next.get();
        self.next.set(number + 1);
        (number < self.most && Instant::now() < self.until).then_some(number)
    }

    fn answered(&self, status: u16, begun: Instant) {
        let now = Instant::now();
        if status != 200 {
            self.refused.set(self.refused.get() + 1);
            return;
        }
        self.accepted.set(self.accepted.get() + 1);
        if now >= self.from && now < self.until {
            self.counted.set(self.counted.get() + 1);
            self.last.set(now);
            note(&mut self.latency.borrow_mut(), now - begun);
        }
    }

    fn sent(&self) -> Sent {
        Sent {
            accepted: self.accepted.get(),
            refused: self.refused.get(),
            counted: self.counted.get(),
            seconds: (self.last.get() - self.from).as_secs_f64(),
            latency: Latency::of(&self.latency.borrow()),
        }
    }
}

struct Connection {
    stream: TcpStream,
    delivery: Delivery,
    answer: Vec<u8>,
}

impl Connection {
    async fn open(address: SocketAddr, delivery: Delivery) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let answer = Vec::with_capacity(ANSWER_BYTES);
        Ok(Self {
            stream,
            delivery,
            answer,
        })
    }

    async fn at_once(mut self, counts: &Counts) -> io::Result<()> {
        while let Some(number) = counts.next() {
            let begun = Instant::now();
            let status = self.send(number).await?;
            counts.answered(status, begun);
        }
        Ok(())
    }

    async fn when_due(
        mut self,
        counts: &Counts,
        due: &Mutex<mpsc::Receiver<Instant>>,
    ) -> io::Result<()> {
        loop {
            let next = due.lock().await.recv().await;
            let (Some(at), Some(number)) = (next, counts.next()) else {
                return Ok(());
            };
            let status = self.send(number).await?;
            counts.answered(status, at);
        }
    }

    async fn send(&mut self, number: u64) -> io::Result<u16> {
        self.stream.write_all(self.delivery.number(number)).await?;
        self.answer.clear();
        loop {
            if self.stream.read_buf(&mut self.answer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(status) = whole(&self.answer)? {
                return Ok(status);
            }
        }
    }
}

/// The status of the answer, once all of it is there.
fn whole(answer: &[u8]) -> io::Result<Option<u16>> {
    let mut headers = [httparse::EMPTY_HEADER; 16];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response.parse(answer).map_err(io::Error::other)?;
    let httparse::Status::Complete(head) = parsed else {
        return Ok(None);
    };
    let length = response
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"))
        .and_then(|header| std::str::from_utf8(header.value).ok()?.parse().ok())
        .unwrap_or(0_usize);
    let is_there = answer.len() >= head + length;
    Ok(response.code.filter(|_| is_there))
}

/// As many connections as the system lets us have. Where it does not, opening them says so.
fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    );
}
