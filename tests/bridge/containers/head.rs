//! The head of docker-compose.yml: the commands and the addresses in it, as they stand there.

use crate::repository::read;

/// A line of addresses: what is there, and where.
#[derive(Debug)]
pub struct Listed {
    pub name: String,
    pub text: String,
}

impl Listed {
    /// The URLs in it.
    pub fn urls(&self) -> Vec<&str> {
        let words = self.text.split([' ', ',']);
        words.filter(|word| word.starts_with("http://")).collect()
    }

    /// Those of it that are a host and a port.
    pub fn hosts(&self) -> Vec<&str> {
        let words = self.text.split([' ', ',']);
        words.filter(|word| word.starts_with("127.")).collect()
    }
}

/// The lines of the head, without what makes them comments.
fn lines() -> Vec<String> {
    let text = read("docker-compose.yml");
    let lines = text.lines().map_while(|line| line.strip_prefix('#'));
    lines.map(str::to_owned).collect()
}

/// Every command of `docker` in it, each on one line.
pub fn commands() -> Vec<String> {
    // A line that ends in a backslash goes on in the next one.
    let whole = lines().join("\n");
    let parts: Vec<&str> = whole.split("\\\n").collect();
    let (first, rest) = parts.split_first().expect("a head");
    let rest = rest.iter().map(|part| part.trim_start());
    let joined = rest.fold((*first).to_owned(), |whole, part| whole + part);
    let command = |line: &str| {
        let is_v1 = line.trim_start().starts_with("docker-compose ");
        let at = line.find(if is_v1 {
            "docker-compose "
        } else {
            "docker compose "
        })?;
        // Behind some spaces, what it does; of a sentence, its end.
        let is_sentence = !line[..at].trim().is_empty();
        let text = if is_sentence {
            line[at..].to_owned()
        } else {
            let words = line[at..].split("   ").next().unwrap_or_default();
            words.to_owned()
        };
        let words: Vec<&str> = text.split_whitespace().collect();
        Some(words.join(" "))
    };
    joined.lines().filter_map(command).collect()
}

/// The one that has these words.
///
/// # Panics
/// When there is none, or more than one.
pub fn command(words: &str) -> String {
    let all = commands();
    let found: Vec<&String> = all.iter().filter(|line| line.contains(words)).collect();
    assert_eq!(found.len(), 1, "{words}: {all:#?}");
    found[0].clone()
}

/// The command that starts a profile: without its name, the default's.
pub fn up(profile: &str) -> String {
    let all = commands();
    let named = format!("--profile {profile} up");
    let is_it = |line: &&String| {
        let is_default = profile == "store" && line.as_str() == "docker compose up";
        is_default || line.contains(&named)
    };
    let found: Vec<&String> = all.iter().filter(is_it).collect();
    assert_eq!(found.len(), 1, "{profile}: {all:#?}");
    found[0].clone()
}

/// The list of addresses.
pub fn listed() -> Vec<Listed> {
    let listed = |line: &String| {
        let (name, text) = line
            .trim_start()
            .split_once("   ")
            .or(line.trim_start().split_once("  "))?;
        let is_one = name.chars().all(char::is_alphanumeric) && text.contains("127.0.0.1:");
        is_one.then(|| Listed {
            name: name.to_owned(),
            text: text.trim().to_owned(),
        })
    };
    lines().iter().filter_map(listed).collect()
}

#[test]
fn the_commands_and_the_addresses_of_the_head_are_found() {
    let commands = commands();
    for line in [
        "docker compose up",
        "docker compose --profile kafka up",
        "docker compose --profile '*' down",
        "docker compose --profile '*' down --volumes",
        "docker compose exec hookferry-store hookferry spool list",
        "docker-compose --profile store --profile kafka --profile rabbitmq down",
    ] {
        assert!(commands.iter().any(|one| one == line), "{commands:#?}");
    }
    let send = command("hookferry send");
    assert!(send.ends_with("--secret-env ONECODEX_SECRET"), "{send}");
    let listed = listed();
    let names: Vec<&str> = listed.iter().map(|one| one.name.as_str()).collect();
    let known = [
        "Webhooks",
        "Page",
        "Topics",
        "Health",
        "Prometheus",
        "Grafana",
        "Kafka",
        "RabbitMQ",
    ];
    assert_eq!(names, known);
    let last = &listed[known.len() - 1];
    assert_eq!((last.urls().len(), last.hosts().len()), (1, 1), "{last:?}");
}
