//! Signature headers that are none.

use proptest::prelude::*;

use super::bystander::Bystander;
use crate::fuzz::targets;
use crate::harness::delivery::{SIGNATURE, event, now, tag};
use crate::harness::setup::SECRET;
use crate::harness::{Post, Setup};

const MIB: f64 = 1024.0 * 1024.0;

/// What is wrong, in the words of the answer, and the header's bytes; `@` is a right signature of
/// the time that stands there.
fn malformed() -> Vec<(u16, &'static str, String)> {
    let mut headers: Vec<(u16, &'static str, String)> = [
        "",
        " ",
        ",",
        "=",
        "t",
        "t=",
        "v1=",
        "t=1",
        "v1=@",
        "t=T v1=",
        "t=T v1=@@",
        "t=T v1=@0",
        "t=T v1= @",
        "t= T v1=@",
        "t =T v1=@",
        "t=T;v1=@",
        "t=T\tv1=@",
        "T=T v1=@",
        "t=T V1=@",
        "t=T v1=@ v1=",
        "t=T v1=@ v1=0",
        "t=T v1=@ garbage",
        "t=T v1=@ =",
        "t=T v1=@ é=1",
        "t=T t=T v1=@",
        "t=Tcc v1=@",
        "t=cT v1=@",
        "t=T.0 v1=@",
        "t=-T v1=@",
        "t=+T v1=@",
        "t=0x5 v1=@",
        "t=T\u{660} v1=@",
        "t=00000T v1=@",
        "t=\"T\" v1=@",
        "t=T v1=\"@\"",
        "{\"t\":T}",
        "t=T v1=gg@",
        "t=T v1=@ v1 ",
        "t=T v1:@",
        "sha256=@",
    ]
    .map(|text| (400, "signature_malformed", text.to_owned()))
    .into();
    headers.push((
        400,
        "signature_malformed",
        format!("t=T{}", " v1=@".repeat(9)),
    ));
    headers.push((
        400,
        "signature_too_long",
        format!("t=T v1=@{}", " v0=0".repeat(200)),
    ));
    headers.push((
        401,
        "signature_mismatch",
        format!("t=T v1={}", "0".repeat(64)),
    ));
    headers.push((
        401,
        "signature_mismatch",
        format!("t=T{}", format!(" v1={}", "f".repeat(64)).repeat(8)),
    ));
    headers
}

#[tokio::test(flavor = "multi_thread")]
async fn row_23_malformed_signature_headers_are_turned_away_with_a_reason() {
    let bystander = Bystander::start(Setup::store()).await;
    let (bridge, source) = (&bystander.bridge, bystander.setup.source.clone());
    let headers = malformed();
    for (status, reason, header) in &headers {
        let (body, time) = (event("sample.uploaded", "malformed"), now().to_string());
        let right = tag(SECRET, &time, body.as_bytes());
        let value = header.replace('T', &time).replace('@', &right);
        let answer = bridge
            .post(&Post::unsigned(&source, body).with(SIGNATURE, &value))
            .await;
        assert_eq!(
            (answer.status, answer.reason().as_str()),
            (*status, *reason),
            "{header:?}"
        );
    }
    for reason in [
        "signature_malformed",
        "signature_too_long",
        "signature_mismatch",
    ] {
        let expected = headers.iter().filter(|(_, of, _)| *of == reason).count();
        let labels = [("source", source.as_str()), ("reason", reason)];
        #[allow(clippy::cast_precision_loss, reason = "a handful")]
        bridge
            .shows("deliveries_rejected_total", &labels, expected as f64)
            .await;
    }
    bystander
        .unharmed(32.0 * MIB)
        .await
        .report(23, "44 malformed signature headers");
}

/// Headers that are nearly right: pieces of good ones, in any number and order.
fn nearly() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        3 => Just("v1=@".to_owned()),
        3 => "t=[0-9]{0,14}[a-zA-Z]{0,2}",
        1 => "v1=[0-9a-fA-F]{62,66}",
        1 => "[a-z0-9_]{0,3}=[ -~]{0,6}",
        1 => "[ -~]{0,8}",
        1 => "\\PC{0,4}",
    ];
    (prop::collection::vec((piece, "[ ,]{0,3}"), 0..14)).prop_map(|pieces| {
        let joined = pieces.into_iter().map(|(piece, between)| piece + &between);
        joined.collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn row_23_the_parser_agrees_with_the_reference(header in nearly()) {
        targets::header(header.as_bytes());
    }

    #[test]
    fn row_23_the_parser_agrees_with_the_reference_on_any_bytes(header in prop::collection::vec(any::<u8>(), 0..1100)) {
        targets::header(&header);
    }
}
