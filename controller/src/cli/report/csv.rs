//! The report for spreadsheets (RFC 4180). A cell that a spreadsheet would take for a formula begins with an apostrophe: names and reasons are
//! somebody else's words.

use policy::Timestamp;

use super::{ChangeView, Done, ReportView, StandingView, at, line};

/// Line ends of RFC 4180.
const END: &str = "\r\n";

/// What stood where.
pub(super) fn servers(report: &ReportView) -> String {
    let header = [
        "server",
        "verdict",
        "findings",
        "mode",
        "dag",
        "site",
        "exchange",
        "thumbprint",
        "subject",
        "issuer",
        "not_before",
        "not_after",
        "since",
        "watched_since",
        "touched_at",
        "untouched_since",
        "untouched_days",
    ];
    let moment = |at_any: Option<Timestamp>| at_any.map(at).unwrap_or_default();
    let row = |server: &StandingView| {
        let certificate = server.certificate.as_ref();
        [
            server.server.clone(),
            server.verdict.clone(),
            server.findings.join(" "),
            server.mode.clone(),
            server.dag.clone(),
            server.site.clone(),
            server.exchange.clone(),
            server.thumbprint.map(|thumbprint| thumbprint.to_string()).unwrap_or_default(),
            certificate.map(|certificate| certificate.subject.clone()).unwrap_or_default(),
            certificate.map(|certificate| certificate.issuer.clone()).unwrap_or_default(),
            moment(certificate.map(|certificate| certificate.not_before)),
            moment(certificate.map(|certificate| certificate.not_after)),
            at(server.since),
            at(server.watched_since),
            moment(server.touched_at),
            at(server.untouched_since),
            server.untouched_days.to_string(),
        ]
    };
    rows(header, report.servers.iter().map(row))
}

/// What was changed.
pub(super) fn changes(report: &ReportView) -> String {
    let header = ["at", "server", "plan", "purpose", "outcome", "before", "after", "who", "why", "gap_micros", "notes"];
    let row = |change: &ChangeView| {
        let (before, after) = change.rebound.clone().unwrap_or_default();
        let plan = change.plan.as_ref();
        let of = |read: fn(&Done) -> String| plan.map(read).unwrap_or_default();
        [
            at(change.at),
            change.server.clone(),
            of(|done| done.id.to_string()),
            of(|done| done.purpose.clone()),
            of(|done| done.outcome.clone()),
            before,
            after,
            change.who(),
            change.why(),
            of(|done| done.gap_micros.to_string()),
            of(|done| done.notes.join("; ")),
        ]
    };
    rows(header, report.changes.iter().map(row))
}

fn rows<const N: usize>(header: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let mut text = header.join(",") + END;
    for row in rows {
        text.push_str(&row.map(|cell| self::cell(&cell)).join(","));
        text.push_str(END);
    }
    text
}

fn cell(text: &str) -> String {
    let text = line(text);
    let text = if text.starts_with(['=', '+', '-', '@']) { format!("'{text}") } else { text };
    if text.contains([',', '"']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_neither_two_cells_nor_a_formula() {
        assert_eq!(cell("EX1"), "EX1");
        assert_eq!(cell("a, \"b\""), "\"a, \"\"b\"\"\"");
        assert_eq!(cell("=HYPERLINK(\"http://x\")"), "\"'=HYPERLINK(\"\"http://x\"\")\"");
        assert_eq!(cell("-1\n@SUM"), "'-1\u{fffd}@SUM");
        assert_eq!(rows(["a", "b"], [["1".to_owned(), String::new()]].into_iter()), "a,b\r\n1,\r\n");
    }
}
