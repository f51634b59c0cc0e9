// SPDX-License-Identifier: MIT OR Apache-2.0
//! CON-* and HTT-*: the HAN interface for consumers (TR-03109-1 detail specifications §6).

use std::time::Duration;

use bench_engine::{Case, Interface, Level};
use bench_rig::Capability;

use crate::bench::Bench;

const NEEDS: &[Capability] = &[Capability::Gateway, Capability::Consumer];

/// REQ.TA.TLS.Handshake.170 in HKS.WS1.
pub const CON_05: Case<Bench> = Case {
    id: "CON-05",
    version: 1,
    title: "An unknown client certificate is refused with a fatal alert",
    level: Level::Must,
    interface: Interface::Han,
    requirements: &["REQ.TA.TLS.Handshake.170", "REQ.TA.TLS.Handshake.130"],
    applies_if: &[],
    assumptions: &["han-json"],
    needs: NEEDS,
    budget: Duration::from_secs(60),
    steps: &[
        "GET with an unregistered certificate, with a registered name but another key, without certificate: fatal alert",
        "the registered consumer is served afterwards",
    ],
    run: |ctx, bench| {
        for (who, party) in [
            ("an unregistered certificate", Some(&bench.parties.stranger)),
            (
                "a registered name with another key",
                Some(&bench.parties.impostor_consumer),
            ),
            ("no certificate", None),
        ] {
            let answer = bench.han_request(ctx, party, "GET", "/smgw/", &[]);
            ctx.check()?;
            let (ok, observed) = match answer {
                Err(failure) => (failure.alert().is_some(), failure.to_string()),
                Ok(response) => (false, format!("HTTP {}", response.status)),
            };
            ctx.expect(ok, format!("GET with {who}"), "fatal alert", observed);
        }
        bench.han_alive(ctx)
    },
};

/// The consumer interface is read-only (AnyPLACE §2.2).
pub const CON_07: Case<Bench> = Case {
    id: "CON-07",
    version: 1,
    title: "The consumer interface changes nothing",
    level: Level::MustNot,
    interface: Interface::Han,
    requirements: &["AnyPLACE §2.2"],
    applies_if: &[],
    assumptions: &["han-json"],
    needs: NEEDS,
    budget: Duration::from_secs(90),
    steps: &[
        "read the meters and all values up to now",
        "PUT, POST and DELETE on every known resource: 403 or 405",
        "read again: byte for byte the same",
    ],
    run: |ctx, bench| {
        let consumer = bench.parties.consumer_of(bench.meters.first_id()?)?;
        let values = bench.values_path_until_now()?;
        let before = bench.han_get(ctx, consumer, &values)?.body;
        for resource in [
            "/smgw/",
            "/smgw/con/v1/",
            "/smgw/con/v1/rts/",
            "/smgw/con/v1/rts/meters/",
            "/smgw/con/v1/exp/",
            values.as_str(),
        ] {
            for method in ["PUT", "POST", "DELETE"] {
                let body = br#"{"meters":[]}"#;
                let answer = bench.han_request(ctx, Some(consumer), method, resource, body);
                ctx.check()?;
                let (ok, observed) = match answer {
                    Ok(response) => (
                        matches!(response.status, 403 | 405),
                        format!("HTTP {}", response.status),
                    ),
                    Err(failure) => (false, failure.to_string()),
                };
                ctx.expect(
                    ok,
                    format!("{method} {resource}"),
                    "HTTP 403 or 405",
                    observed,
                );
            }
        }
        let after = bench.han_get(ctx, consumer, &values)?.body;
        ctx.expect(
            before == after,
            "values read before and after",
            "identical",
            if before == after {
                "identical"
            } else {
                "different"
            },
        );
        bench.han_alive(ctx)
    },
};

/// REQ.Webservice.HttpServer.250.
pub const HTT_06: Case<Bench> = Case {
    id: "HTT-06",
    version: 1,
    title: "Without an Accept header, or with */*, the answer is JSON",
    level: Level::Must,
    interface: Interface::Han,
    requirements: &["REQ.Webservice.HttpServer.250"],
    applies_if: &[],
    assumptions: &["han-json"],
    needs: NEEDS,
    budget: Duration::from_secs(60),
    steps: &["GET without Accept and with Accept: */*: application/json, and the body is JSON"],
    run: |ctx, bench| {
        let consumer = bench.parties.consumer()?;
        for (what, headers) in [
            ("no Accept", &[][..]),
            ("Accept: */*", &[("accept", "*/*")][..]),
        ] {
            for resource in ["/smgw/", "/smgw/con/v1/rts/meters/"] {
                let response = bench.han_get_with(ctx, consumer, resource, headers)?;
                let kind = response.header("content-type").unwrap_or("none").to_owned();
                let json = kind.split(';').next().map(str::trim) == Some("application/json");
                ctx.expect(
                    json,
                    format!("GET {resource}, {what}"),
                    "application/json",
                    kind,
                );
                let body = serde_json::from_slice::<serde_json::Value>(&response.body);
                ctx.expect(
                    body.is_ok(),
                    format!("body of {resource}, {what}"),
                    "JSON",
                    body.map_or_else(|error| error.to_string(), |_| "JSON".to_owned()),
                );
            }
        }
        Ok(())
    },
};
