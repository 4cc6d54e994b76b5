//! The broker's name leads nowhere, then somewhere else, or to several places of which one is well.

use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::faults::namespace::Names;
use crate::faults::scene::Scene;
use crate::harness::{Bridge, Copies, Outlet, Report, Setup};
use crate::order::proxied_at;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: root, for a mount namespace"]
async fn row_29_the_name_of_rabbitmq_is_looked_up_afresh() {
    const NAME: &str = "broker.test";
    let (first, url) = proxied_at("127.0.0.2:0").await;
    let port = first.address().port();
    let (_second, _) = proxied_at(&format!("127.0.0.3:{port}")).await;
    let setup = Setup::rabbitmq(&url.replace("127.0.0.2", NAME)).and_store();
    let outlet = Outlet::rabbitmq(&setup).await;
    let names = Names::new(setup.path("hookferry.toml").parent().expect("a folder"));
    let bridge = Bridge::start_through(&names.command(), &setup.write()).await;
    let mut scene = Scene::of(setup, bridge, outlet);
    scene.says("failed to lookup address").await;
    scene.fails_at("lookup").await;
    scene.shows("sink_connected", 0.0).await;
    scene.shows("sink_paused", 1.0).await;
    scene.goes_on(100).await;
    names.point(NAME, "127.0.0.2");
    scene.is_well().await;
    // The broker moves.
    drop(first);
    scene.fails_at("connect").await;
    names.none();
    scene.shows("sink_connected", 0.0).await;
    scene.goes_on(100).await;
    names.point(NAME, "127.0.0.3");
    let recovered = scene.recovers().await;
    scene.shows("sink_reconnects_total", 1.0).await;
    let (_, verdict) = scene.ends_well(Copies::InDoubt).await;
    Report::row(29)
        .sink("rabbitmq")
        .did("the broker's name is unknown at the start, and leads to another address later")
        .recovered_in(recovered)
        .write(&verdict);
}

/// An address that swallows packets: nobody accepts there, and its accept queue is full.
struct BlackHole {
    _listener: TcpListener,
    _queued: Vec<TcpStream>,
}

impl BlackHole {
    async fn at(address: &str) -> Self {
        let address = address.parse().expect("an address");
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(address).expect("a free port");
        let listener = socket.listen(1).expect("listening");
        let mut queued = Vec::new();
        let patience = Duration::from_secs(1);
        while let Ok(connected) = tokio::time::timeout(patience, TcpStream::connect(address)).await
        {
            queued.push(connected.expect("taken, or not answered"));
        }
        Self {
            _listener: listener,
            _queued: queued,
        }
    }
}

/// One swallows packets, one takes connections and says nothing. Each has its share of the time, and
/// the third is found in every attempt.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: root, for a mount namespace"]
async fn row_46_one_address_of_several_is_enough() {
    const NAME: &str = "broker.test";
    let (well, url) = proxied_at("127.0.0.4:0").await;
    let port = well.address().port();
    let _swallowing = BlackHole::at(&format!("127.0.0.2:{port}")).await;
    let (hung, _) = proxied_at(&format!("127.0.0.3:{port}")).await;
    hung.freeze();
    let setup = Setup::rabbitmq(&url.replace("127.0.0.4", NAME)).and_store();
    let outlet = Outlet::rabbitmq(&setup).await;
    let names = Names::new(setup.path("hookferry.toml").parent().expect("a folder"));
    names.point_to_all(NAME, &["127.0.0.2", "127.0.0.3", "127.0.0.4"]);
    let bridge = Bridge::start_through(&names.command(), &setup.write()).await;
    let mut scene = Scene::of(setup, bridge, outlet);
    scene.is_well().await;
    // The other two change places.
    hung.restore();
    well.freeze();
    scene.counts("sink_reconnects_total", 1.0).await;
    let recovered = scene.recovers().await;
    scene.is_well().await;
    let (_, verdict) = scene.ends_well(Copies::InDoubt).await;
    Report::row(46)
        .sink("rabbitmq")
        .did("a name with three addresses: one swallows packets, one takes connections and says nothing, and then another one does")
        .recovered_in(recovered)
        .write(&verdict);
}
