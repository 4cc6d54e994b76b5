//! What a configuration may ask for, and an operator may not have meant: it is said, by `check` and in
//! the log, and does not keep the bridge from running.

mod sources;

use super::problem::{ConfigProblem, ConfigProblems};
use super::settings::{Settings, SinkKind};
use super::value::in_units;
use crate::admin::Host;
use crate::name::SinkName;
use crate::sink::kafka::KafkaSettings;
use crate::sink::rabbitmq;

impl Settings {
    /// Everything of that kind, each with its key path and a remedy.
    #[must_use]
    pub fn warnings(&self) -> Vec<ConfigProblem> {
        let mut found = ConfigProblems::default();
        self.warn_of_a_short_chain(&mut found);
        sources::warn(self, &mut found);
        for sink in &self.sinks {
            let path = format!("sink.{}", sink.name);
            match &sink.kind {
                SinkKind::RabbitMq(rabbit) => {
                    warn_of_plain_rabbitmq(&path, rabbit, &mut found);
                    self.warn_of_dead_letters(&sink.name, rabbit, &mut found);
                }
                SinkKind::Kafka(kafka) => warn_of_plain_kafka(&path, kafka, &mut found),
                SinkKind::Store(_) => {}
            }
        }
        self.doubts.iter().chain(found.iter()).cloned().collect()
    }

    /// A body that is taken and that the broker refuses is a dead letter.
    fn warn_of_dead_letters(
        &self,
        sink: &SinkName,
        rabbit: &rabbitmq::RabbitMqSettings,
        found: &mut ConfigProblems,
    ) {
        let most = rabbit.max_message_bytes;
        for source in &self.sources {
            let routes = self.routes.iter();
            let mut of_source = routes.filter(|route| route.source == source.source.name);
            let taken = source.endpoint.max_body_bytes;
            let taken = taken.unwrap_or(self.ingress.max_body_bytes) as u64;
            if taken <= most || !of_source.any(|route| route.sinks.contains(sink)) {
                continue;
            }
            let [taken, most] = [taken, most].map(in_units);
            let name = &source.source.name;
            found.add(
                format!("sink.{sink}.max_message_size"),
                format!("of {name} bodies of up to {taken} are taken, and those beyond {most} become dead letters here"),
                format!("raise it and the broker's own max_message_size to \"{taken}\", or lower max_body"),
            );
        }
    }

    fn warn_of_a_short_chain(&self, found: &mut ConfigProblems) {
        let Some(tls) = &self.ingress.tls else { return };
        let Some(issuer) = &tls.missing_issuer else {
            return;
        };
        let file = tls.validity.file.display();
        found.add(
            "ingress.tls.certificate_file",
            format!("{file} does not hold the certificate of {issuer}, who vouches for the first one in it"),
            "put it behind the first one: a sender that knows only an authority above it cannot tell that the first one counts; where every sender knows it, nothing is amiss",
        );
    }
}

fn warn_of_plain_rabbitmq(
    path: &str,
    rabbit: &rabbitmq::RabbitMqSettings,
    found: &mut ConfigProblems,
) {
    let address = &rabbit.address;
    if address.is_tls() || address.is_external() || is_loopback(address.host()) {
        return;
    }
    found.add(
        format!("{path}.url"),
        format!(
            "the password goes to {} over a connection that is not encrypted",
            address.host()
        ),
        "write the URL with amqps://, or be sure that nobody can listen on the way",
    );
}

fn warn_of_plain_kafka(path: &str, kafka: &KafkaSettings, found: &mut ConfigProblems) {
    let (Some(credentials), None) = (&kafka.sasl, &kafka.tls) else {
        return;
    };
    let Some(host) = hosts(&kafka.brokers).find(|host| !is_loopback(host)) else {
        return;
    };
    let what = if credentials.sends_secret() {
        "the password or token goes"
    } else {
        "the login, from which a weak password can be guessed, goes"
    };
    found.add(
        format!("{path}.sasl"),
        format!("{what} to {host} over a connection that is not encrypted"),
        "add the table `tls` to the sink, or be sure that nobody can listen on the way",
    );
}

/// The hosts of `host:port,host:port`.
fn hosts(brokers: &str) -> impl Iterator<Item = &str> {
    brokers.split(',').map(|broker| {
        let broker = broker.trim();
        broker.rsplit_once(':').map_or(broker, |(host, _)| host)
    })
}

/// Whether what is sent there does not leave this machine.
fn is_loopback(host: &str) -> bool {
    Host::parse(host).is_ok_and(|host| host.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_this_machine() {
        for host in [
            "localhost",
            "LocalHost.",
            "kafka.localhost",
            "127.0.0.1",
            "127.1.2.3",
            "::1",
            "[::1]",
            "::ffff:127.0.0.1",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "",
            "mq",
            "localhost.example",
            "notlocalhost",
            "10.0.0.1",
            "::",
            "2001:db8::1",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn a_body_that_the_broker_does_not_take_is_told_of() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path().display();
        let warnings = |source: &str, sink: &str| {
            let text = format!(
                "[spool]\npath = \"{folder}/spool\"\n[source.a]\nprovider = \"onecodex\"\nsecrets = [{{ env = \"PATH\" }}]\n{source}\n[sink.r]\ntype = \"rabbitmq\"\nurl = \"amqp://localhost\"\n{sink}\n[[route]]\nsource = \"a\"\nsinks = [\"r\"]"
            );
            let settings = crate::config::parse(&text, &|_| None).expect("nothing is wrong");
            let warnings = settings.warnings();
            warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(warnings("", ""), [""; 0]);
        let large = "max_body = \"25MiB\"";
        assert_eq!(warnings(large, "max_message_size = \"25MiB\""), [""; 0]);
        let found = warnings(large, "");
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("sink.r.max_message_size: of a bodies of up to 25MiB"));
        assert!(
            found[0].contains("beyond 16MiB become dead letters"),
            "{found:?}"
        );
    }

    #[test]
    fn the_hosts_of_a_list_of_brokers_are_found() {
        let found: Vec<&str> = hosts("localhost:9092, kafka-2:9092,[::1]:9092").collect();
        assert_eq!(found, ["localhost", "kafka-2", "[::1]"]);
    }
}
