#![allow(clippy::unwrap_used)]
use super::wire::{Taken, envelope, take};
use crate::market::{Price, Size};

fn quote(bid: &str, ask: &str) -> super::Quote {
    let p = |text: &str| text.parse::<Price>().unwrap();
    let size = Size::from_e8(100_000_000_000_000).unwrap();
    super::Quote { symbol: 0, event_ns: 0, bid: p(bid), ask: p(ask), bid_size: size, ask_size: size, update_id: 0 }
}

#[test]
fn messages_are_taken_one_by_one_and_checked() {
    // From the documents, recomputed.
    let text = "8=FIX.4.4|9=96|35=1|34=5|49=cServer|50=QUOTE|52=20260916-14:58:23.500|56=demo.broker.1234567|57=QUOTE|112=TR-7|10=247|";
    let whole = text.replace('|', "\x01").into_bytes();
    let mut buffer = whole.clone();
    buffer.extend_from_slice(&envelope("35=0\x0134=6\x01"));
    let Taken::Message(fields) = take(&mut buffer) else { panic!("a message") };
    assert_eq!((fields.text(112), fields.number(34), fields.text(55)), ("TR-7", Some(5), ""));
    assert!(matches!(take(&mut buffer), Taken::Message(fields) if fields.text(35) == "0"));
    assert!(buffer.is_empty());
    for cut in 0..whole.len() {
        assert_eq!(take(&mut whole[..cut].to_vec()), Taken::More, "{cut}");
    }
    let broken = text.replace("TR-7", "TR-8").replace('|', "\x01").into_bytes();
    assert_eq!(take(&mut broken.clone()), Taken::Garbled);
    assert_eq!(take(&mut b"GET / HTTP/1.1".to_vec()), Taken::Hopeless);
    assert_eq!(take(&mut b"8=FIX.4.4\x019=9999999\x01".to_vec()), Taken::Hopeless);
}

#[test]
fn a_book_says_what_is_new_and_what_is_gone() {
    let (mut book, mut id) = (super::Book::default(), 16);
    let (gone, new) = book.follow(&quote("1.0851", "1.08523"), 10_000, &mut id);
    assert!(gone.is_empty() && new.len() == 6);
    let whole = super::book::whole("1", &new[..1]);
    let text: Vec<String> = whole.iter().map(|(tag, value)| format!("{tag}={value}")).collect();
    assert_eq!(text.join("|"), "55=1|268=1|269=0|270=1.0851|271=1000000|278=16");
    // The ask stays: only the bids are told anew.
    let (gone, new) = book.follow(&quote("1.0852", "1.08523"), 10_000, &mut id);
    assert_eq!((gone, new.len()), (vec![16, 18, 20], 3));
    let text: Vec<String> =
        super::book::changes("1", &[17], &new[..1]).iter().map(|(tag, value)| format!("{tag}={value}")).collect();
    assert_eq!(text.join("|"), "268=2|279=0|269=0|278=22|55=1|270=1.0852|271=1000000|279=2|278=17|55=1");
    assert_eq!(book.follow(&quote("1.0852", "1.08523"), 10_000, &mut id), (vec![], vec![]));
}
