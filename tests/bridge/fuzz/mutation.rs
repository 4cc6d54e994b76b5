//! Many inputs of few: small changes to what is in a corpus, the same ones in every run.

/// A source of choices that repeats itself: xorshift64* (Vigna, "An experimental exploration of
/// Marsaglia's xorshift generators, scrambled", 2016).
pub struct Choices(u64);

impl Choices {
    pub fn new(seed: u64) -> Self {
        // The generator stands still at 0.
        Self(seed | 1)
    }

    /// A number below `limit`; 0 where there is no choice.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = usize::try_from(self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33);
        number.expect("31 bits") % limit.max(1)
    }
}

/// What grammars treat specially.
const TOKENS: &[&[u8]] = &[
    b" ",
    b",",
    b"=",
    b"@",
    b"t=",
    b" v1=",
    b"0",
    b"9",
    b"-",
    b"\0",
    b"\n",
    b"\"",
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b"{",
    b"}",
    b"[",
    b"]",
    b"[[",
    b"]]",
    b":",
    b".",
    b"/",
    b"#",
    b"$uri",
    b"${S}",
    b"${",
    b"null",
    b"1e400",
    b"1e-400",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\xc3",
    b"T",
    b"Z",
    b"+",
    b"\"\"\"",
];

/// One of the seeds, changed in one to eight places.
pub fn mutate(seeds: &[Vec<u8>], choices: &mut Choices) -> Vec<u8> {
    let mut bytes = seeds[choices.below(seeds.len())].clone();
    for _ in 0..=choices.below(8) {
        change(&mut bytes, seeds, choices);
    }
    bytes
}

fn change(bytes: &mut Vec<u8>, seeds: &[Vec<u8>], choices: &mut Choices) {
    let at = choices.below(bytes.len() + 1);
    let length = choices.below(16).min(bytes.len() - at);
    match choices.below(6) {
        0 if at < bytes.len() => bytes[at] ^= 1 << choices.below(8),
        1 => drop(bytes.drain(at..at + length)),
        2 => {
            let copy = bytes[at..at + length].to_vec();
            let to = choices.below(bytes.len() + 1);
            bytes.splice(to..to, copy);
        }
        3 => {
            let token = TOKENS[choices.below(TOKENS.len())];
            bytes.splice(at..at + length, token.iter().copied());
        }
        4 => {
            let other = &seeds[choices.below(seeds.len())];
            let from = choices.below(other.len() + 1);
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
        _ => {
            let byte = u8::try_from(choices.below(256)).expect("a byte");
            bytes.insert(at, byte);
        }
    }
}

#[test]
fn mutations_are_many_and_the_same_in_every_run() {
    let seeds = vec![b"t=1 v1=00".to_vec(), b"{}".to_vec()];
    let run = || {
        let mut choices = Choices::new(7);
        let many = (0..200).map(|_| mutate(&seeds, &mut choices));
        many.collect::<Vec<_>>()
    };
    let (first, second) = (run(), run());
    assert_eq!(first, second);
    let different: std::collections::HashSet<_> = first.into_iter().collect();
    assert!(different.len() > 150, "{}", different.len());
}
