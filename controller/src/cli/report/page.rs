//! The report as one HTML file.

use std::fmt::{self, Write};

use policy::Timestamp;
use policy::finding::Verdict;

use super::{ChangeView, Done, ReportView, StandingView, at};
use crate::cli::html::{self, Escaped, badge, facts};

/// The page.
pub(super) fn page(report: &ReportView) -> String {
    let title = format!("Exchange back-end certificates of {} on {}", report.estate, day(report.at));
    html::page(&title, |page| body(page, report))
}

fn day(at: Timestamp) -> String {
    at.strftime("%F").to_string()
}

fn body(page: &mut String, report: &ReportView) -> fmt::Result {
    let ReportView { estate, at: moment, from, made_at, servers, changes, audit_sequence, audit_head, .. } = report;
    writeln!(page, "<header><h1>Exchange back-end certificates of {} on {}</h1>", Escaped(estate), day(*moment))?;
    writeln!(
        page,
        "<p>What stood on port 444 of each server, what was changed there, and what was left alone. Made by <code>backstay report</code> on {}.</p></header>",
        at(*made_at)
    )?;
    writeln!(page, "<main>\n<section><h2>In short</h2>")?;
    facts(page, report.head())?;
    writeln!(page, "</section>\n<section><h2>What stood where</h2>")?;
    if servers.is_empty() {
        writeln!(page, "<p>No server had joined.</p>")?;
    } else {
        writeln!(
            page,
            "<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"Servers\"><table><thead><tr><th scope=\"col\">Server<th scope=\"col\">Verdict<th scope=\"col\">Certificate<th scope=\"col\">Ends<th scope=\"col\">Untouched<th scope=\"col\">Findings</thead><tbody>"
        )?;
        servers.iter().try_for_each(|found| server(page, found))?;
        writeln!(page, "</tbody></table></div>")?;
        writeln!(
            page,
            "<p>Untouched is counted from the last change of what 444 shows. Where the certificate was there already when the server was first heard, from its own beginning.</p>"
        )?;
    }
    writeln!(page, "</section>\n<section><h2>What was changed</h2>")?;
    writeln!(page, "<p>From {} to {}.</p>", at(*from), at(*moment))?;
    if changes.is_empty() {
        writeln!(page, "<p>Nothing: every server was left alone.</p>")?;
    }
    for found in changes {
        change(page, found)?;
    }
    writeln!(page, "</section>\n<section><h2>How this is checked</h2>")?;
    writeln!(
        page,
        "<p>The audit trail had {audit_sequence} entries then, and ended with <code>{audit_head}</code>. It still is what it was, when this prints no error:</p>\n<p><code>backstay audit verify --anchor {audit_sequence}:{audit_head}</code></p>"
    )?;
    writeln!(page, "</section>\n</main>")
}

fn server(page: &mut String, server: &StandingView) -> fmt::Result {
    let verdict = serde_json::from_value::<Verdict>(server.verdict.as_str().into());
    let verdict = verdict.map_or_else(|_| Escaped(&server.verdict).to_string(), badge);
    let group = server.group();
    write!(page, "<tr><td><strong>{}</strong>", Escaped(&server.server))?;
    if !group.is_empty() {
        write!(page, "<br><small>{}</small>", Escaped(group))?;
    }
    write!(page, "<td>{verdict}<td>")?;
    match server.thumbprint {
        Some(thumbprint) => write!(page, "<code>{thumbprint}</code>")?,
        None => write!(page, "none")?,
    }
    if let Some(certificate) = &server.certificate {
        let issuer = if certificate.issuer == certificate.subject { "itself" } else { &certificate.issuer };
        write!(page, "<br><small>{}, issued by {}</small>", Escaped(&certificate.subject), Escaped(issuer))?;
    }
    write!(
        page,
        "<td class=\"day\">{}",
        server.certificate.as_ref().map_or_else(|| "–".to_owned(), |found| day(found.not_after))
    )?;
    write!(
        page,
        "<td><strong>{} days</strong><br><small class=\"day\">since {}</small>",
        server.untouched_days,
        day(server.untouched_since)
    )?;
    writeln!(page, "<td>{}", Escaped(&server.findings.join(" ")))
}

fn change(page: &mut String, change: &ChangeView) -> fmt::Result {
    writeln!(page, "<h3>{} <span class=\"day\">{}</span></h3>", Escaped(&change.server), at(change.at))?;
    let mut rows = vec![("what", change.what()), ("who", change.who())];
    if let Some(Done { id, approved_by, gap_micros, notes, foreign, .. }) = &change.plan {
        for approval in approved_by {
            let number = if approval.change.is_empty() { String::new() } else { format!(" ({})", approval.change) };
            rows.push(("why", format!("{}: {}{number}", approval.person, approval.reason)));
        }
        if *gap_micros > 0 {
            rows.push(("gap", format!("444 had no record for {gap_micros} microseconds")));
        }
        rows.extend(notes.iter().map(|note| ("done", note.clone())));
        rows.extend(foreign.iter().map(|fact| ("elsewhere", fact.clone())));
        rows.push(("plan", id.to_string()));
    }
    facts(page, rows)
}

#[cfg(test)]
mod tests {
    use super::super::tests::report;
    use super::*;

    #[test]
    fn nothing_that_somebody_else_chose_becomes_markup_and_the_page_needs_nothing_but_itself() {
        let page = page(&report("<script>alert(1)</script>\" onload='x'"));
        let body = &page[page.find("<body>").expect("a body")..];
        for markup in ["<script", "onload='x'"] {
            assert!(!body.contains(markup), "{markup} in\n{body}");
        }
        for outside in ["src=", "<link", "url(", "@import", "http://", "https://"] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(page.contains("default-src 'none'") && page.contains("1412 days") && page.contains("CHG-7"), "{page}");
    }
}
