//! Orders: plans that he writes himself or alters, with approvals that he makes up, borrows, or has seen.

use anyhow::{Context, Result};
use policy::id::Thumbprint;
use policy::plan::{Expect, Plan, Step, Values};
use policy::trust::{Approval, Kind};
use proto::agent::Offer;
use proto::agent::open_response::Message as Down;
use proto::types::Signed;
use tests::estate::policy;
use tests::forger::Asks;
use tests::papers;

use super::Attack;
use super::thief::{DUE, FIT, Thief};

/// A microsecond count.
const HOUR: i64 = 3_600_000_000;

/// Offers the plan that is due, with anna's approval and what `change` makes of ben's.
fn second(thief: &Thief, change: impl FnOnce(&mut Approval) -> Result<()>) -> Result<String> {
    let mut approval = papers::approval(&thief.due, "ben")?;
    change(&mut approval)?;
    let ben = thief.sign(&approval, &thief.ben)?;
    beside_annas(thief, ben)
}

/// Offers the plan that is due, with anna's approval and this one.
fn beside_annas(thief: &Thief, other: Signed) -> Result<String> {
    let anna = thief.sign(&papers::approval(&thief.due, "anna")?, &thief.anna)?;
    thief.offer(DUE, &thief.due.to_bytes(), vec![anna, other])
}

/// Offers what `change` makes of the plan that is due, with genuine approvals of exactly that.
fn altered(thief: &Thief, change: impl FnOnce(&mut Plan) -> Result<()>) -> Result<String> {
    let mut plan = thief.due.clone();
    change(&mut plan)?;
    thief.signed_offer(DUE, &plan)
}

/// Offers other bytes than the plan's that is due, with the approvals of the plan.
fn bytes(thief: &Thief, change: impl FnOnce(&mut Vec<u8>)) -> Result<String> {
    let mut bytes = thief.due.to_bytes();
    change(&mut bytes);
    thief.offer(DUE, &bytes, thief.both(&thief.due)?)
}

/// A moment.
fn at(text: &str) -> Result<policy::Timestamp> {
    text.parse().context("a moment")
}

/// What is written, signed and said for whom.
pub(super) static ATTACKS: [Attack; 26] = [
    Attack {
        tries: "orders an early renewal of a certificate that is fit",
        refused: "two_keys: expected 2 approver(s), found 0",
        by: |thief| thief.offer(FIT, &thief.early.to_bytes(), Vec::new()),
    },
    Attack {
        tries: "orders it with genuine approvals by all who must approve",
        refused: "leave_alone: ",
        by: |thief| thief.signed_offer(FIT, &thief.early),
    },
    Attack {
        tries: "orders a renewal that is due, without any approval",
        refused: "two_keys: expected 2 approver(s), found 0",
        by: |thief| thief.offer(DUE, &thief.due.to_bytes(), Vec::new()),
    },
    Attack {
        tries: "has one of two approvers",
        refused: "two_keys: expected 2 approver(s), found 1: anna",
        by: |thief| {
            let anna = thief.sign(&papers::approval(&thief.due, "anna")?, &thief.anna)?;
            thief.offer(DUE, &thief.due.to_bytes(), vec![anna])
        },
    },
    Attack {
        tries: "has one approver twice, by two keys that both count",
        refused: "anna approved more than once and counts once",
        by: |thief| {
            let again = Approval { reason: "again".to_owned(), ..papers::approval(&thief.due, "anna")? };
            beside_annas(thief, thief.sign(&again, &thief.second)?)
        },
    },
    Attack {
        tries: "signs in another's name with a stolen approver's key",
        refused: "the approval of ben carries no valid signature of an approver of that name",
        by: |thief| beside_annas(thief, thief.sign(&papers::approval(&thief.due, "ben")?, &thief.anna)?),
    },
    Attack {
        tries: "signs with a key that he made",
        refused: "the approval of ben carries no valid signature of an approver of that name",
        by: |thief| beside_annas(thief, thief.sign(&papers::approval(&thief.due, "ben")?, &thief.stranger)?),
    },
    Attack {
        tries: "passes a signature over a policy off as one over an approval",
        refused: "two_keys: expected 2 approver(s), found 1: anna",
        by: |thief| {
            let approval = papers::approval(&thief.due, "ben")?;
            beside_annas(thief, papers::signed(Kind::Policy, approval.to_bytes(), &[&thief.ben])?.into())
        },
    },
    Attack {
        tries: "alters an approval that was signed",
        refused: "two_keys: expected 2 approver(s), found 1: anna",
        by: |thief| {
            let mut signed = thief.sign(&papers::approval(&thief.done, "ben")?, &thief.ben)?;
            signed.body = papers::approval(&thief.due, "ben")?.to_bytes();
            beside_annas(thief, signed)
        },
    },
    Attack {
        tries: "uses the approval of another plan",
        refused: "the approval of ben is for another plan",
        by: |thief| beside_annas(thief, thief.sign(&papers::approval(&thief.done, "ben")?, &thief.ben)?),
    },
    Attack {
        tries: "uses the approval of another estate",
        refused: "the approval of ben is for another plan",
        by: |thief| {
            second(thief, |approval| {
                approval.estate = "fabrikam".parse()?;
                Ok(())
            })
        },
    },
    Attack {
        tries: "uses the approval of who asked for the plan",
        refused: "ben asked for the plan and cannot approve it",
        by: |thief| {
            second(thief, |approval| {
                approval.requester = Some("ben".parse()?);
                Ok(())
            })
        },
    },
    Attack {
        tries: "keeps an approval until after its end",
        refused: "deadline: the approval of ben ended at 2020-02-01",
        by: |thief| {
            second(thief, |approval| {
                (approval.not_before, approval.not_after) = (at("2020-01-01T00:00:00Z")?, at("2020-02-01T00:00:00Z")?);
                Ok(())
            })
        },
    },
    Attack {
        tries: "uses an approval before its beginning",
        refused: "deadline: the approval of ben begins at 2100-01-01",
        by: |thief| {
            second(thief, |approval| {
                (approval.not_before, approval.not_after) = (at("2100-01-01T00:00:00Z")?, at("2100-02-01T00:00:00Z")?);
                Ok(())
            })
        },
    },
    Attack {
        tries: "has an approval for all time",
        refused: "two_keys: expected 2 approver(s), found 1: anna",
        by: |thief| {
            second(thief, |approval| {
                approval.not_after = at("2100-01-01T00:00:00Z")?;
                Ok(())
            })
        },
    },
    Attack {
        tries: "plays an order back that was approved and done",
        refused: "the receipt of the first time, and nothing begins",
        by: |thief| thief.offer_again(DUE, &thief.done),
    },
    Attack {
        tries: "sends the order of one host to another",
        refused: "other_host: server: expected EX2, found EX1",
        by: |thief| thief.signed_offer(FIT, &thief.due),
    },
    Attack {
        tries: "sends the order for a host to its rebuilt successor of the same name",
        refused: "other_host: machine id",
        by: |thief| {
            altered(thief, |plan| {
                "another installation".clone_into(&mut plan.machine_id);
                Ok(())
            })
        },
    },
    Attack {
        tries: "sends the order of another estate",
        refused: "other_host: expected estate ",
        by: |thief| {
            altered(thief, |plan| {
                plan.estate = "fabrikam".parse()?;
                Ok(())
            })
        },
    },
    Attack {
        tries: "sends an order for a state that has passed",
        refused: "expectation: http.sys records on port 444",
        by: |thief| {
            altered(thief, |plan| {
                for expect in &mut plan.expects {
                    if let Expect::Records { records, .. } = expect {
                        records.first_mut().context("a record")?.thumbprint = Some(Thumbprint([7; 20]));
                    }
                }
                Ok(())
            })
        },
    },
    Attack {
        tries: "has two persons approve a certificate for other names",
        refused: "expectation: the steps are not those that this host would plan",
        by: |thief| {
            altered(thief, |plan| {
                for step in &mut plan.steps {
                    if let Step::Mint { netbios, .. } = step {
                        "MAIL".clone_into(netbios);
                    }
                }
                Ok(())
            })
        },
    },
    Attack {
        tries: "leaves out what would find him out: the handshake and the comparison",
        refused: "expectation: the steps are not those that this host would plan",
        by: |thief| {
            altered(thief, |plan| {
                plan.steps.retain(|step| !matches!(step, Step::Compare | Step::Probe { .. }));
                Ok(())
            })
        },
    },
    Attack {
        tries: "adds a step: take the record of 444 away",
        refused: "expectation: the steps are not those that this host would plan",
        by: |thief| {
            altered(thief, |plan| {
                let record =
                    plan.steps.iter().find_map(|step| if let Step::Swap { from, .. } = step { Some(from) } else { None });
                let record = record.context("a record")?.clone();
                plan.steps.push(Step::RemoveRecord { record });
                Ok(())
            })
        },
    },
    Attack {
        tries: "has a weak key approved, or one for a hundred years",
        refused: "expectation: no policy allows a certificate of 512 bits for 1200 months",
        by: |thief| {
            altered(thief, |plan| {
                plan.values = Values { key_bits: 512, months: 1200 };
                Ok(())
            })
        },
    },
    Attack {
        tries: "spells a plan otherwise, so that it has another id",
        refused: "expected a plan in its one spelling",
        by: |thief| bytes(thief, |bytes| bytes.insert(1, b' ')),
    },
    Attack {
        tries: "adds a field that this agent may not know",
        refused: "plan does not read",
        by: |thief| bytes(thief, |bytes| drop(bytes.splice(1..1, b"\"force\":true,".iter().copied()))),
    },
];

/// What a thief who has everything still meets: the genuine word of others, and the host's own.
pub(super) static STANDING: [Attack; 4] = [
    Attack {
        tries: "is an hour off, so that what has ended seems to hold: the agent's clock decides, and then it does nothing",
        refused: "clock: ",
        by: |thief| {
            thief.ask(Asks { clock: -HOUR, ..Asks::default() })?;
            let said = thief.signed_offer(DUE, &thief.due.clone());
            thief.ask(Asks::default())?;
            said
        },
    },
    Attack {
        tries: "has every approval, in a freeze that the signed policy names",
        refused: "window: ",
        by: |thief| {
            let freeze = "[[freeze]]\nfrom = \"2020-01-01\"\nto = \"2099-12-31\"\nzone = \"UTC\"\nreason = \"the year's end\"\n";
            thief.relay_policy(&format!("{}{freeze}", policy("act")))?;
            thief.signed_offer(DUE, &thief.due)
        },
    },
    Attack {
        tries: "has every approval, where the signed policy only observes",
        refused: "mode: ",
        by: |thief| {
            thief.relay_policy(&policy("observe"))?;
            thief.signed_offer(DUE, &thief.due)
        },
    },
    Attack {
        tries: "has every approval, after an emergency stop",
        refused: "held on the host by emergency stop",
        by: |thief| {
            thief.relay_policy(&policy("act"))?;
            thief.stop_all()?;
            thief.signed_offer(DUE, &thief.due)
        },
    },
];

/// More approvals than anybody needs.
pub(super) fn many(thief: &Thief) -> Down {
    Down::Offer(Offer { plan: thief.due.to_bytes(), approvals: vec![Signed::default(); 65] })
}
