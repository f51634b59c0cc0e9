// SPDX-License-Identifier: MIT OR Apache-2.0
//! The switch in virtual time: who gets which frame, and when, under impairments.

use std::time::Duration;

use bench_wire::{Chance, Forwarded, Impairments, PortId, Switch};
use proptest::prelude::*;
use smgw_units::Nanos;

const A: [u8; 6] = [0x52, 0x54, 0, 0, 0, 0xa];
const B: [u8; 6] = [0x52, 0x54, 0, 0, 0, 0xb];
const EVERYBODY: [u8; 6] = [0xff; 6];
const MS: u64 = 1_000_000;

fn frame(to: [u8; 6], from: [u8; 6], payload: &[u8]) -> Vec<u8> {
    [&to, &from, &[0x08, 0][..], payload].concat()
}

fn three_ports() -> (Switch, PortId, PortId, PortId) {
    let mut switch = Switch::new(1);
    let (a, b, c) = (switch.add_port(), switch.add_port(), switch.add_port());
    (switch, a, b, c)
}

fn leave(switch: &mut Switch, now: Nanos) -> Vec<Forwarded> {
    let mut left = Vec::new();
    while let Some(forwarded) = switch.poll_transmit(now) {
        left.push(forwarded);
    }
    left
}

fn ports(mut left: Vec<Forwarded>) -> Vec<PortId> {
    left.sort_by_key(|forwarded| forwarded.to);
    left.into_iter().map(|forwarded| forwarded.to).collect()
}

#[test]
fn a_station_once_heard_gets_its_frames_alone() {
    let (mut switch, a, b, c) = three_ports();
    switch.receive(Nanos(0), a, &frame(B, A, b"who"));
    assert_eq!(ports(leave(&mut switch, Nanos(0))), [b, c]);
    switch.receive(Nanos(1), b, &frame(A, B, b"me"));
    assert_eq!(ports(leave(&mut switch, Nanos(1))), [a]);
    switch.receive(Nanos(2), a, &frame(B, A, b"you"));
    assert_eq!(ports(leave(&mut switch, Nanos(2))), [b]);
    switch.receive(Nanos(3), b, &frame(EVERYBODY, B, b"all"));
    assert_eq!(ports(leave(&mut switch, Nanos(3))), [a, c]);
    // It was carried to another port.
    switch.receive(Nanos(4), c, &frame(A, B, b"moved"));
    leave(&mut switch, Nanos(4));
    switch.receive(Nanos(5), a, &frame(B, A, b"there?"));
    assert_eq!(ports(leave(&mut switch, Nanos(5))), [c]);
}

#[test]
fn a_late_frame_waits_for_its_time() {
    let (mut switch, a, ..) = three_ports();
    let late = Impairments {
        delay: Duration::from_millis(20),
        ..Impairments::default()
    };
    switch.impair(a, late);
    switch.receive(Nanos(5 * MS), a, &frame(B, A, b"late"));
    assert_eq!(switch.poll_timeout(), Some(Nanos(25 * MS)));
    assert!(leave(&mut switch, Nanos(25 * MS - 1)).is_empty());
    assert_eq!(leave(&mut switch, Nanos(25 * MS)).len(), 2);
    assert_eq!(switch.poll_timeout(), None);
}

#[test]
fn a_reordered_frame_is_overtaken() {
    let (mut switch, a, ..) = three_ports();
    let turned = Impairments {
        reorder: Chance::ALWAYS,
        reorder_by: Duration::from_millis(5),
        ..Impairments::default()
    };
    switch.impair(a, turned);
    switch.receive(Nanos(0), a, &frame(B, A, b"first"));
    switch.impair(a, Impairments::default());
    switch.receive(Nanos(1), a, &frame(B, A, b"second"));
    let order: Vec<_> = leave(&mut switch, Nanos(10 * MS))
        .into_iter()
        .map(|forwarded| forwarded.frame[14..].to_vec())
        .collect();
    assert_eq!(order, [&b"second"[..], b"second", b"first", b"first"]);
    assert_eq!(switch.counters(a).reordered, 1);
}

#[test]
fn a_cut_cable_carries_and_teaches_nothing() {
    let (mut switch, a, b, c) = three_ports();
    switch.impair(a, Impairments::cut());
    switch.receive(Nanos(0), a, &frame(EVERYBODY, A, b"hello"));
    assert!(leave(&mut switch, Nanos(0)).is_empty());
    assert_eq!(switch.counters(a).lost, 1);
    switch.receive(Nanos(1), b, &frame(A, B, b"where?"));
    assert_eq!(ports(leave(&mut switch, Nanos(1))), [a, c]);
}

#[test]
fn losses_come_as_often_as_told() {
    let (mut switch, a, ..) = three_ports();
    let lossy = Impairments {
        loss: Chance::new(0.1).unwrap(),
        ..Impairments::default()
    };
    switch.impair(a, lossy);
    for at in 0..10_000 {
        switch.receive(Nanos(at), a, &frame(B, A, b"maybe"));
        leave(&mut switch, Nanos(at));
    }
    // Ten standard deviations around 1000, and the seed is fixed.
    assert!((700..1300).contains(&switch.counters(a).lost));
}

#[test]
fn a_flood_is_bounded_and_counted() {
    let (mut switch, a, ..) = three_ports();
    let slow = Impairments {
        delay: Duration::from_secs(3600),
        ..Impairments::default()
    };
    switch.impair(a, slow);
    for _ in 0..10_000 {
        switch.receive(Nanos(0), a, &frame(B, A, b"flood"));
    }
    let counters = switch.counters(a);
    assert_eq!(counters.received, 10_000);
    assert!(counters.congested > 5_000, "{counters:?}");
}

fn impairments() -> impl Strategy<Value = Impairments> {
    let chance = || (0.0..=1.0).prop_map(|chance| Chance::new(chance).unwrap());
    let time = || (0..50_u64).prop_map(Duration::from_millis);
    (
        time(),
        time(),
        chance(),
        chance(),
        time(),
        chance(),
        chance(),
    )
        .prop_map(
            |(delay, jitter, loss, reorder, reorder_by, duplicate, truncate)| Impairments {
                delay,
                jitter,
                loss,
                reorder,
                reorder_by,
                duplicate,
                truncate,
            },
        )
}

proptest! {
    /// Whatever comes in under whatever impairments: every frame is accounted for, none grows, none goes back.
    #[test]
    fn every_frame_is_accounted_for(
        bad in impairments(),
        seed: u64,
        frames in prop::collection::vec((0..3_usize, prop::collection::vec(any::<u8>(), 0..1600)), 0..60),
    ) {
        let mut switch = Switch::new(seed);
        let ports: Vec<_> = (0..3).map(|_| switch.add_port()).collect();
        for port in &ports {
            switch.impair(*port, bad);
        }
        let mut out = Vec::new();
        for (at, (port, frame)) in frames.iter().enumerate() {
            switch.receive(Nanos(at as u64 * MS), ports[*port], frame);
            out.extend(leave(&mut switch, Nanos(at as u64 * MS)));
        }
        while let Some(due) = switch.poll_timeout() {
            out.extend(leave(&mut switch, due));
        }
        let mut total = bench_wire::Counters::default();
        for port in &ports {
            let counters = switch.counters(*port);
            total.received += counters.received;
            total.sent += counters.sent;
            total.lost += counters.lost;
            total.malformed += counters.malformed;
        }
        prop_assert_eq!(total.received, frames.len() as u64);
        prop_assert_eq!(total.sent, out.len() as u64);
        let malformed = frames.iter().filter(|(_, frame)| !(14..=1518).contains(&frame.len())).count();
        prop_assert_eq!(total.malformed, malformed as u64);
        for forwarded in &out {
            prop_assert_ne!(forwarded.from, forwarded.to);
            let origin = frames.iter().any(|(port, frame)| {
                ports[*port] == forwarded.from && frame.starts_with(&forwarded.frame)
            });
            prop_assert!(origin, "a frame nobody sent");
        }
    }

    /// Without reordering, frames of one port leave in the order they came, however they are delayed.
    #[test]
    fn jitter_keeps_the_order(delay in 0..50_u64, jitter in 0..50_u64, seed: u64, gaps in prop::collection::vec(0..20_u64, 1..80)) {
        let mut switch = Switch::new(seed);
        let (a, _b) = (switch.add_port(), switch.add_port());
        switch.impair(a, Impairments {
            delay: Duration::from_millis(delay),
            jitter: Duration::from_millis(jitter),
            ..Impairments::default()
        });
        let mut now = 0;
        for (number, gap) in gaps.iter().enumerate() {
            now += gap * MS;
            switch.receive(Nanos(now), a, &frame(B, A, &(number as u32).to_be_bytes()));
        }
        let mut seen = Vec::new();
        let mut last = Nanos(0);
        while let Some(due) = switch.poll_timeout() {
            prop_assert!(due >= last);
            last = due;
            for forwarded in leave(&mut switch, due) {
                seen.push(u32::from_be_bytes(forwarded.frame[14..].try_into().unwrap()));
            }
        }
        prop_assert_eq!(seen, (0..gaps.len() as u32).collect::<Vec<_>>());
    }
}
