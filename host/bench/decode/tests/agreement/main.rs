// SPDX-License-Identifier: MIT OR Apache-2.0
//! How far the decoder agrees with decoders and vectors of others, over every corpus at hand.
//!
//! Each set is walked through the same function the command line uses. The table that is printed is
//! the result; every difference must be explained by name. The corpora are not part of the
//! repository, see [`test_material::corpora`].

mod link;
mod lvogt;
mod mbus;
mod score;
mod sml;
mod wmbus;

use std::path::Path;

use self::score::Score;

#[test]
fn every_corpus_agrees() {
    let sets: [fn(&Path) -> Score; 14] = [
        sml::libsml,
        sml::smllib,
        sml::smarty,
        mbus::rscada,
        mbus::rscada_errors,
        wmbus::wmbusmeters,
        wmbus::m_bus_parser,
        lvogt::cases,
        wmbus::oms_vectors,
        wmbus::oms_synthetic,
        link::lmn_synthetic,
        link::dlms,
        link::d0,
        link::p1,
    ];
    let Some(root) = test_material::corpora() else {
        println!(
            "SKIPPED: corpora absent (see {})",
            test_material::CORPORA_VARIABLE
        );
        return;
    };
    let scores: Vec<_> = sets.iter().map(|set| set(&root)).collect();
    println!("{}", score::table(&scores));
    let unexplained: Vec<_> = scores
        .iter()
        .flat_map(|score| {
            score
                .differences
                .iter()
                .map(move |it| format!("{}: {it}", score.set))
        })
        .collect();
    assert!(unexplained.is_empty(), "{}", unexplained.join("\n"));
    for score in &scores {
        assert!(score.compared > 0, "{}: nothing was compared", score.set);
    }
}
