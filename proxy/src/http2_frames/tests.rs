use proptest::prelude::*;

use super::*;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FIRST_SETTINGS: &[u8] = b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64";

fn frame(kind: u8, flags: u8, payload_bytes: u8) -> Vec<u8> {
    let mut frame = vec![0, 0, payload_bytes, kind, flags, 0, 0, 0, 1];
    frame.extend(vec![0xff; payload_bytes.into()]);
    frame
}

fn opened() -> Frames {
    let mut frames = Frames::of_client();
    frames.pass(PREFACE);
    frames.pass(FIRST_SETTINGS);
    frames
}

#[test]
fn a_preface_is_unfinished_until_the_last_byte_of_its_settings() {
    let opening = [PREFACE, FIRST_SETTINGS].concat();
    let mut frames = Frames::of_client();
    for byte in opening {
        assert_eq!(frames.unfinished(), Some(Unfinished::Preface));
        frames.pass(&[byte]);
    }
    assert_eq!(frames.unfinished(), None);
}

#[test]
fn an_empty_settings_frame_ends_the_preface() {
    let mut frames = Frames::of_client();
    frames.pass(PREFACE);
    frames.pass(&frame(SETTINGS, 0, 0));
    assert_eq!(frames.unfinished(), None);
}

#[test]
fn other_frames_do_not_stand_for_settings() {
    let mut frames = Frames::of_client();
    frames.pass(PREFACE);
    frames.pass(&frame(6, 0, 8));
    frames.pass(&frame(HEADERS, END_HEADERS, 1));
    assert_eq!(frames.unfinished(), Some(Unfinished::Preface));
    frames.pass(&frame(SETTINGS, 0, 6));
    assert_eq!(frames.unfinished(), None);
}

#[test]
fn a_head_is_unfinished_until_end_headers() {
    let mut frames = opened();
    frames.pass(&frame(HEADERS, 0, 20));
    assert_eq!(frames.unfinished(), Some(Unfinished::Head));
    frames.pass(&frame(CONTINUATION, 0, 0));
    assert_eq!(frames.unfinished(), Some(Unfinished::Head));
    let last = frame(CONTINUATION, END_HEADERS, 5);
    frames.pass(&last[..last.len() - 1]);
    assert_eq!(frames.unfinished(), Some(Unfinished::Head));
    frames.pass(&last[last.len() - 1..]);
    assert_eq!(frames.unfinished(), None);
}

#[test]
fn frames_are_counted_by_what_they_are_for() {
    let mut frames = opened();
    let before = frames.counts;
    assert_eq!(before, FrameCounts { control: 15, replies: 9, ..FrameCounts::default() });
    let begun = [
        frame(DATA, 0, 100),
        frame(DATA, 1, 0),
        frame(HEADERS, 0, 20),
        frame(CONTINUATION, END_HEADERS, 0),
        frame(PING, 0, 8),
        frame(PING, ACK, 8),
        frame(SETTINGS, ACK, 0),
        frame(2, 0, 5),
        frame(8, 0, 4),
        frame(99, 0, 1),
    ];
    assert_eq!(frames.pass(&begun.concat()), begun.len());
    let control = 15 + 9 + 9 + 17 + 17 + 9 + 14 + 13 + 10;
    let expected = FrameCounts { data: 109, fields: 29, control, replies: 9 + 17 };
    assert_eq!(frames.counts, expected);
}

#[test]
fn windows_follow_the_frames_of_the_connection() {
    let mut frames = opened();
    let windows = frames.windows.clone().unwrap();
    let update =
        |stream: u8| [&[0, 0, 4, WINDOW_UPDATE, 0, 0, 0, 0, stream], &[0, 0, 0, 1][..]].concat();
    let settings =
        |flags| [&[0, 0, 6, SETTINGS, flags, 0, 0, 0, 0], &[0, 4, 0, 0, 0, 9][..]].concat();
    frames.pass(&settings(ACK));
    assert!(windows.give(1, 10));
    windows.sent(1);
    frames.pass(&settings(0));
    assert!(windows.give(1, 9));
    assert!(!windows.give(1, 10));
    assert!(windows.give(65_535 - 3, 0));
    frames.pass(&update(1));
    assert!(!windows.give(1, 0), "the update was for a stream");
    frames.pass(&update(0));
    assert!(windows.give(0, 0));
}

#[test]
fn replies_to_control_frames_are_no_messages() {
    let traffic = Http2Traffic::new(Frames::of_server());
    traffic.send(300, 300);
    assert_eq!(traffic.sent_in_messages(), 300);
    let pings = [frame(PING, 0, 8), frame(PING, 0, 8)].concat();
    assert_eq!(traffic.receive(&pings), 2 * FRAME_COST_BYTES);
    assert_eq!(traffic.sent_in_messages(), 300 - 2 * 17);
    traffic.receive(&frame(PING, 0, 8).repeat(100));
    assert_eq!(traffic.sent_in_messages(), 0, "the replies are still to be sent");
}

#[test]
fn a_write_that_was_taken_in_part_cuts_a_frame() {
    let traffic = Http2Traffic::new(Frames::of_client());
    assert!(traffic.is_sent_whole());
    traffic.send(300, 299);
    assert!(!traffic.is_sent_whole());
    traffic.send(1, 1);
    assert!(traffic.is_sent_whole());
}

#[test]
fn a_server_sends_no_preface() {
    let mut frames = Frames::of_server();
    assert_eq!(frames.pass(&[FIRST_SETTINGS, &frame(DATA, 0, 7)].concat()), 2);
    assert_eq!(frames.counts.data, 16);
}

#[test]
fn other_frames_may_take_their_time() {
    let mut frames = opened();
    let data = frame(0, 0, 200);
    frames.pass(&data[..100]);
    assert_eq!(frames.unfinished(), None);
    frames.pass(&data[100..]);
    frames.pass(&frame(6, 0, 8));
    frames.pass(&frame(SETTINGS, 0, 6)[..12]);
    assert_eq!(frames.unfinished(), None);
}

proptest! {
    #[test]
    fn it_does_not_matter_how_the_bytes_are_cut(
        sent in prop::collection::vec((0..10u8, any::<u8>(), 0..40u8), 0..8),
        cuts in prop::collection::vec(1..30usize, 1..50),
        end in 0..400usize,
    ) {
        let mut bytes = [PREFACE, FIRST_SETTINGS].concat();
        bytes.extend(sent.iter().flat_map(|&(kind, flags, len)| frame(kind, flags, len)));
        bytes.truncate(end);
        let (mut whole, mut cut) = (Frames::of_client(), Frames::of_client());
        whole.pass(&bytes);
        let mut rest = &bytes[..];
        for length in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, behind) = rest.split_at((*length).min(rest.len()));
            cut.pass(piece);
            rest = behind;
        }
        prop_assert_eq!(whole.unfinished(), cut.unfinished());
        prop_assert_eq!(whole.counts, cut.counts);
    }
}
