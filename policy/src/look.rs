//! When to look at a server again though nothing happened: only time passed.

use jiff::Timestamp;

use crate::bound::Bound;
use crate::certificate::Certificate;
use crate::document::Policy;
use crate::duration::Span;
use crate::evaluate::{JUST_NOW, LEFT_BEHIND, front_end_certificates, named_certificate, no_back_end};
use crate::last::{LastKnown, WENT_BACK};
use crate::report::Sight;

/// The first moment after `now` at which the same sight and memory may be judged or decided differently; `None` when time
/// changes nothing. Always later than `now`, so that whoever looks again then never spins.
pub fn next_look(policy: &Policy, sight: &Sight, last: &LastKnown, now: Timestamp) -> Option<Timestamp> {
    if no_back_end(&sight.report).is_some() {
        return None;
    }
    let mut moments = Vec::new();
    if let Some((_, at)) = last.exchange.as_ref().and_then(|build| build.changed.as_ref()) {
        moments.extend([WENT_BACK.after(*at), JUST_NOW.after(*at)]);
    }
    if let Some(Some(at)) = sight.report.machine.last_setup.known() {
        moments.push(LEFT_BEHIND.after(*at));
    }
    moments.extend(front_end_certificates(sight).map(Certificate::not_after));
    if let Some(certificate) = named_certificate(sight) {
        moments.extend(expiry(policy, certificate));
        moments.extend(policy.last_chance(certificate.not_after()));
        let exceptions = policy.exceptions.iter().filter(|exception| exception.server == sight.report.host.name);
        moments.extend(exceptions.map(|exception| exception.until));
    }
    let bound = Bound::of(sight);
    if matches!(bound, Bound::NoRecord | Bound::Dangling { .. } | Bound::KeyUnusable { .. }) {
        if let Some(trouble) = last.trouble {
            moments.push(bound.quiet(policy).after(trouble.changed));
            moments.push(policy.quiet.ceiling.after(trouble.since));
        }
        for restore in &last.restores {
            moments.push(Span::seconds(3_600).after(*restore));
            moments.push(Span::days(1).after(*restore));
        }
        let remembered = last.good.as_ref().and_then(|good| Certificate::from_der(&good.der.0).ok());
        // What may take the place of the lost one ends too.
        let at_hand = remembered.iter().chain(sight.certificates.values());
        moments.extend(at_hand.flat_map(|certificate| [certificate.not_before(), certificate.not_after()]));
    }
    // The front end's own certificate, as long as it may have to be given back.
    let given_back = last
        .front_end
        .iter()
        .filter_map(|front_end| sight.certificates.values().find(|certificate| certificate.thumbprint() == front_end.thumbprint));
    moments.extend(given_back.map(Certificate::not_after));
    moments.into_iter().filter(|moment| now < *moment).min()
}

/// The moments that a certificate's dates and the policy give.
fn expiry(policy: &Policy, certificate: &Certificate) -> [Timestamp; 5] {
    let ends = certificate.not_after();
    [certificate.not_before(), policy.proposes_from(ends), policy.renewal_opens(ends), policy.expiry.urgent_at.before(ends), ends]
}
