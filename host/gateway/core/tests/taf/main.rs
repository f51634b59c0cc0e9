// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every tariff use case against a plain model of it, on random histories with gaps, switches, resets, roll-overs, clock
//! changes, restarts and entries out of order (catalogue rows MET-05 to MET-14). Virtual time only.
//!
//! `SMGW_HISTORIES` sets how many histories each use case gets, `SMGW_SEED` where they begin; a failure names its own.

mod energy;
mod history;
mod plain;
mod series;
mod steps;
mod world;

use history::agree;

#[test]
fn taf_1_agrees_with_its_model() {
    agree(world::taf1, series::taf1);
}

#[test]
fn taf_2_agrees_with_its_model() {
    agree(world::taf2, steps::taf2);
}

#[test]
fn taf_3_agrees_with_its_model() {
    agree(world::taf3, steps::taf3);
}

#[test]
fn taf_4_agrees_with_its_model() {
    agree(world::taf4, steps::taf4);
}

#[test]
fn taf_5_agrees_with_its_model() {
    agree(world::taf5, steps::taf5);
}

#[test]
fn taf_6_agrees_with_its_model() {
    agree(world::taf6, series::taf6);
}

#[test]
fn taf_7_agrees_with_its_model() {
    agree(world::taf7, series::taf7);
}

#[test]
fn taf_8_agrees_with_its_model() {
    agree(world::taf8, energy::taf8);
}

#[test]
fn taf_9_agrees_with_its_model() {
    agree(world::taf9, series::taf9);
}

#[test]
fn taf_10_agrees_with_its_model() {
    agree(world::taf10, series::taf10);
}

#[test]
fn taf_11_agrees_with_its_model() {
    agree(world::taf11, series::taf11);
}

#[test]
fn taf_12_agrees_with_its_model() {
    agree(world::taf12, energy::taf12);
}

#[test]
fn taf_13_agrees_with_its_model() {
    agree(world::taf13, series::taf13);
}

#[test]
fn taf_14_agrees_with_its_model() {
    agree(world::taf14, series::taf7);
}
