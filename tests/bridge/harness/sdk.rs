//! The vendors' own libraries, which sign and verify in the tests: one program of `tests/oracles` for
//! each language, asked by lines of JSON. What each library does its own way stands in those programs.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};

/// The first answer of a program comes after it has read all its libraries.
const PATIENCE: Duration = Duration::from_secs(60);

/// Headers of a request, in no order.
pub type Headers = Vec<(String, String)>;

/// The language of the libraries; each has one program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    Python,
    Node,
    Go,
}

impl Language {
    fn program(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Node => "node",
            Self::Go => "go",
        }
    }
}

/// What a library is asked about.
#[derive(Debug, Clone)]
pub struct Question<'a> {
    /// The program's name for the provider.
    pub provider: &'a str,
    /// As the vendor's page shows it; to sign with an asymmetric scheme, a PEM private key.
    pub secret: &'a str,
    pub body: &'a [u8],
    pub method: &'a str,
    pub url: &'a str,
    /// The time to sign at, and the library's clock when it verifies, in seconds since 1970.
    pub timestamp: i64,
    /// Those of the request that is verified; none needed to sign.
    pub headers: Headers,
}

impl<'a> Question<'a> {
    /// A POST without headers.
    pub fn new(provider: &'a str, secret: &'a str, body: &'a [u8], timestamp: i64) -> Self {
        Self {
            provider,
            secret,
            body,
            method: "POST",
            url: "https://hooks.example.com/webhooks/source",
            timestamp,
            headers: Headers::new(),
        }
    }

    /// With these headers.
    pub fn with(mut self, headers: &[(String, String)]) -> Self {
        self.headers.extend_from_slice(headers);
        self
    }

    fn line(&self, what: &str) -> String {
        let headers = self.headers.iter();
        let headers: Map<String, Value> = headers
            .map(|(name, value)| (name.clone(), json!(value)))
            .collect();
        let question = json!({
            "do": what,
            "provider": self.provider,
            "secret": self.secret,
            "body": BASE64_STANDARD.encode(self.body),
            "method": self.method,
            "url": self.url,
            "timestamp": self.timestamp,
            "headers": headers,
        });
        format!("{question}\n")
    }
}

/// The program with the libraries of one language; it is killed when this is dropped.
pub struct Sdk {
    language: Language,
    program: Child,
    questions: Sender<String>,
    answers: Receiver<String>,
}

impl Sdk {
    /// Starts the program, for any number of questions.
    ///
    /// # Panics
    /// When there is none.
    pub fn start(language: Language) -> Self {
        let folder = std::env::var_os("HOOKFERRY_TEST_ORACLES").expect(
            "HOOKFERRY_TEST_ORACLES names no folder: run tests/run, or set it to one that \
             tests/brokers/oracles has filled",
        );
        let path = Path::new(&folder).join(language.program());
        let mut program = Command::new(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut input = program.stdin.take().expect("piped");
        let mut output = BufReader::new(program.stdout.take().expect("piped"));
        let (questions, asked) = channel::<String>();
        let (answer, answers) = channel();
        // A thread of its own: whoever asks has a deadline, and neither pipe has one.
        thread::spawn(move || {
            for question in asked {
                let mut line = String::new();
                let written = input.write_all(question.as_bytes());
                let read = written.and_then(|()| output.read_line(&mut line));
                if !matches!(read, Ok(1..)) || answer.send(line).is_err() {
                    return;
                }
            }
        });
        Self {
            language,
            program,
            questions,
            answers,
        }
    }

    /// The headers of a delivery that the vendor's library signs, or why it does not.
    pub fn sign(&mut self, question: &Question<'_>) -> Result<Headers, String> {
        let answer = self.ask(question.line("sign"));
        let Some(headers) = answer["headers"].as_object() else {
            return Err(reason(&answer));
        };
        let header = |(name, value): (&String, &Value)| {
            let value = value.as_str().expect("a header is a text");
            (name.clone(), value.to_owned())
        };
        Ok(headers.iter().map(header).collect())
    }

    /// Whether the vendor's library takes the delivery, or why it does not.
    pub fn verify(&mut self, question: &Question<'_>) -> Result<(), String> {
        let answer = self.ask(question.line("verify"));
        match answer["ok"].as_bool().expect("an answer to verify") {
            true => Ok(()),
            false => Err(reason(&answer)),
        }
    }

    fn ask(&mut self, question: String) -> Value {
        let language = self.language;
        // A program that has ended is seen by the receiver.
        let _ = self.questions.send(question);
        let line = self.answers.recv_timeout(PATIENCE);
        let line = line.unwrap_or_else(|error| panic!("the program of {language:?}: {error}"));
        let answer: Value = serde_json::from_str(&line).expect("an answer is JSON");
        let fault = answer.get("fault");
        assert_eq!(fault, None, "the program of {language:?} cannot do this");
        answer
    }
}

impl Drop for Sdk {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

fn reason(answer: &Value) -> String {
    let reason = answer["error"].as_str();
    reason.expect("a refusal has a reason").to_owned()
}
