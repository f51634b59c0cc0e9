// SPDX-License-Identifier: MIT OR Apache-2.0
//! The wire between real sockets, as QEMU plugs in.

use std::os::unix::net::UnixDatagram;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bench_wire::{FrameTap, Impairments, NoTap, Plug, Wire};
use smgw_units::Nanos;

const PATIENCE: Duration = Duration::from_secs(10);

fn frame(to: u8, from: u8, payload: &[u8]) -> Vec<u8> {
    let address = |last| [0x52, 0x54, 0, 0, 0, last];
    [&address(to)[..], &address(from), &[0x88, 0xb5], payload].concat()
}

fn station(plug: &Plug) -> UnixDatagram {
    let socket = UnixDatagram::bind(&plug.theirs).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn receive(socket: &UnixDatagram) -> Vec<u8> {
    let mut frame = [0; 2048];
    let length = socket.recv(&mut frame).unwrap();
    frame[..length].to_vec()
}

fn until(condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "it does not come about");
        std::thread::yield_now();
    }
}

struct Seen(mpsc::Sender<(bool, String)>);

impl FrameTap for Seen {
    fn entered(&mut self, port: &str, _at: Nanos, _frame: &[u8]) {
        let _ = self.0.send((true, port.to_owned()));
    }

    fn left(&mut self, port: &str, _at: Nanos, _frame: &[u8]) {
        let _ = self.0.send((false, port.to_owned()));
    }
}

#[test]
fn frames_cross_are_tapped_and_stop_at_a_cut() {
    let directory = tempfile::tempdir().unwrap();
    let (left, right) = (
        Plug::inside(directory.path(), "board"),
        Plug::inside(directory.path(), "gateway"),
    );
    let (sender, seen) = mpsc::channel();
    let wire = Wire::start(vec![left.clone(), right.clone()], 1, Seen(sender)).unwrap();
    let board = station(&left);
    let gateway = station(&right);
    board.send_to(&frame(2, 1, b"hello"), &left.ours).unwrap();
    assert_eq!(receive(&gateway), frame(2, 1, b"hello"));
    gateway.send_to(&frame(1, 2, b"back"), &right.ours).unwrap();
    assert_eq!(receive(&board), frame(1, 2, b"back"));
    let tapped: Vec<_> = (0..4)
        .map(|_| seen.recv_timeout(PATIENCE).unwrap())
        .collect();
    let expected = [
        (true, "board"),
        (false, "gateway"),
        (true, "gateway"),
        (false, "board"),
    ];
    assert_eq!(tapped, expected.map(|(way, port)| (way, port.to_owned())));

    let port = wire.port("board").unwrap();
    wire.impair(port, Impairments::cut());
    board.send_to(&frame(2, 1, b"lost"), &left.ours).unwrap();
    until(|| wire.counters(port).lost == 1);
    wire.impair(port, Impairments::default());
    board.send_to(&frame(2, 1, b"kept"), &left.ours).unwrap();
    assert_eq!(receive(&gateway), frame(2, 1, b"kept"));
}

#[test]
fn a_station_that_is_not_there_yet_loses_frames_and_no_more() {
    let directory = tempfile::tempdir().unwrap();
    let plugs = [
        Plug::inside(directory.path(), "a"),
        Plug::inside(directory.path(), "b"),
    ];
    let wire = Wire::start(plugs.to_vec(), 1, NoTap).unwrap();
    let a = station(&plugs[0]);
    a.send_to(&frame(2, 1, b"nobody"), &plugs[0].ours).unwrap();
    let port = wire.port("a").unwrap();
    until(|| wire.counters(port).received == 1);
    let b = station(&plugs[1]);
    // A frame may still have reached b if it was quicker than the wire; the last one certainly does.
    a.send_to(&frame(2, 1, b"somebody"), &plugs[0].ours)
        .unwrap();
    while receive(&b) != frame(2, 1, b"somebody") {}
}

#[test]
fn a_socket_that_cannot_be_made_is_named() {
    let plug = Plug::inside(std::path::Path::new("/nowhere"), "a");
    let error = Wire::start(vec![plug], 1, NoTap).unwrap_err();
    assert!(error.to_string().contains("/nowhere/a.wire"), "{error}");
}

#[test]
fn nothing_is_left_behind() {
    let directory = tempfile::tempdir().unwrap();
    let plug = Plug::inside(directory.path(), "a");
    drop(Wire::start(vec![plug.clone()], 1, NoTap).unwrap());
    assert!(!plug.ours.exists());
}
