//! The assessment as one HTML file, to be handed to whoever owns the servers.

use std::fmt::Write;

use policy::Timestamp;

use super::view::{AssessmentView, CertificateView, Judgement, Other};
use crate::cli::html::{self, Escaped, badge, facts};
use crate::cli::output::moment;
use crate::cli::server::FindingView;

/// The page of these servers.
pub(super) fn page(views: &[AssessmentView], now: Timestamp) -> String {
    html::page(&format!("Back-end certificates of {} servers", views.len()), |page| body(page, views, now))
}

fn body(page: &mut String, views: &[AssessmentView], now: Timestamp) -> std::fmt::Result {
    writeln!(page, "<header><h1>Exchange back-end certificates</h1>")?;
    writeln!(
        page,
        "<p>{} server{} as of {}, judged by <code>backstay assess</code> from exported files. What no export shows is unknown, and is said.</p></header>",
        views.len(),
        if views.len() == 1 { "" } else { "s" },
        moment(now)
    )?;
    writeln!(page, "<main>")?;
    all(page, views)?;
    writeln!(page, "</main>")
}

/// The servers alone, for a page that is around them already.
#[cfg(feature = "server")]
pub(crate) fn sections(views: &[AssessmentView]) -> String {
    let mut text = String::new();
    all(&mut text, views).expect("a String takes all text");
    text
}

fn all(page: &mut String, views: &[AssessmentView]) -> std::fmt::Result {
    if views.len() > 1 {
        overview(page, views)?;
    }
    views.iter().enumerate().try_for_each(|(index, view)| server(page, index, view))
}

fn overview(page: &mut String, views: &[AssessmentView]) -> std::fmt::Result {
    writeln!(page, "<section><h2>All servers</h2><div class=\"wide\"><table>")?;
    writeln!(page, "<thead><tr><th>Server<th>Verdict<th>444 ends<th>Findings</thead><tbody>")?;
    for (index, view) in views.iter().enumerate() {
        let [name, _, ends, findings] = view.row();
        let verdict: Vec<String> = view.verdicts().map(badge).collect();
        let verdict = verdict.join(" or ");
        writeln!(
            page,
            "<tr><td><a href=\"#s{index}\">{}</a><td>{verdict}<td class=\"day\">{}<td>{}",
            Escaped(&name),
            Escaped(&ends),
            Escaped(&findings)
        )?;
    }
    writeln!(page, "</tbody></table></div></section>")
}

fn server(page: &mut String, index: usize, view: &AssessmentView) -> std::fmt::Result {
    let AssessmentView { source, as_of: _, server, fqdn, exchange, judgement, otherwise, unknown, read, not_understood } = view;
    writeln!(page, "<section id=\"s{index}\"><h2>{} {}</h2>", Escaped(server), badge(judgement.verdict))?;
    let or_unknown = |text: &Option<String>| text.clone().unwrap_or_else(|| "unknown".to_owned());
    facts(page, [("full name", or_unknown(fqdn)), ("Exchange", or_unknown(exchange)), ("exports", source.clone())])?;
    judged(page, judgement)?;
    if let Some(otherwise) = otherwise {
        writeln!(
            page,
            "<h3>The exports contradict each other</h3><p>By Exchange's own word (<code>Get-ExchangeCertificate</code>) it is {}</p>",
            badge(otherwise.verdict)
        )?;
        judged(page, otherwise)?;
    }
    // The side that knows the stores knows the others.
    let others = &otherwise.as_ref().unwrap_or(judgement).other_certificates;
    if !others.is_empty() {
        writeln!(page, "<h3>Other certificates</h3><div class=\"wide\"><table>")?;
        writeln!(page, "<thead><tr><th>Certificate<th>Store<th>Ends<th>Subject<th>What</thead><tbody>")?;
        for Other { certificate: CertificateView { thumbprint, subject, not_after, .. }, store, what } in others {
            writeln!(
                page,
                "<tr><td><code>{thumbprint}</code><td>{}<td class=\"day\">{}<td>{}<td>{}",
                Escaped(store),
                not_after.strftime("%Y-%m-%d"),
                Escaped(subject),
                Escaped(what)
            )?;
        }
        writeln!(page, "</tbody></table></div>")?;
    }
    for (title, list, open) in
        [("Not understood", not_understood, true), ("Unknown, and what would show it", unknown, false), ("Read", read, false)]
    {
        if !list.is_empty() {
            writeln!(page, "<details{}><summary>{title} ({})</summary><ul>", if open { " open" } else { "" }, list.len())?;
            list.iter().try_for_each(|entry| writeln!(page, "<li>{}", Escaped(entry)))?;
            writeln!(page, "</ul></details>")?;
        }
    }
    writeln!(page, "</section>")
}

fn judged(page: &mut String, judgement: &Judgement) -> std::fmt::Result {
    facts(page, judgement.rows().into_iter().filter(|(name, _)| *name != "verdict"))?;
    if judgement.findings.is_empty() {
        return writeln!(page, "<p>No findings.</p>");
    }
    writeln!(page, "<ul class=\"findings\">")?;
    for FindingView { code, title, severity, evidence } in &judgement.findings {
        writeln!(
            page,
            "<li class=\"{}\"><strong>{}</strong> {} <em>{}</em><ul>",
            Escaped(severity),
            Escaped(code),
            Escaped(title),
            Escaped(severity)
        )?;
        evidence.iter().try_for_each(|fact| writeln!(page, "<li>{}", Escaped(fact)))?;
        writeln!(page, "</ul>")?;
    }
    writeln!(page, "</ul>")
}

#[cfg(test)]
mod tests {
    use policy::document::Policy;
    use recorded::Exports;

    use super::*;

    /// A server whose exports hold what a browser would obey.
    fn hostile() -> AssessmentView {
        let evil = "&lt;script&gt;alert(1)&lt;/script&gt;\" onload='x' _x202E_";
        let mut exports = Exports::default();
        let server = format!(
            "<Objs><Obj><TN><T>Microsoft.Exchange.Data.Directory.Management.ExchangeServer</T></TN><Props><S N='Name'>EX1</S><S N='Fqdn'>{evil}</S></Props></Obj></Objs>"
        );
        exports.add("<img src=x onerror=alert(1)>.xml", server.as_bytes());
        exports.add("broken.xml", b"<Objs>");
        let assembly = exports.assemble(None).expect("EX1").remove(0);
        let policy = Policy::none_yet("lab".parse().expect("a name"));
        AssessmentView::of("a & b".to_owned(), Timestamp::UNIX_EPOCH, &policy, assembly, &["</ul><iframe>".to_owned()])
    }

    #[test]
    fn nothing_that_an_export_holds_becomes_markup() {
        let page = page(&[hostile(), hostile()], Timestamp::UNIX_EPOCH);
        let body = &page[page.find("<body>").expect("a body")..];
        for markup in ["<script", "<img", "<iframe", "onload='x'", "\u{202e}", "&lt;script&gt;alert(1)&lt;/script&gt;\""] {
            assert!(!body.contains(markup), "{markup} in\n{body}");
        }
        assert!(body.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot; onload=&#39;x&#39;"), "{body}");
        assert!(body.contains("a &amp; b") && body.contains("&lt;/ul&gt;&lt;iframe&gt;"), "{body}");
    }

    #[test]
    fn the_page_needs_nothing_but_itself() {
        let page = page(&[hostile()], Timestamp::UNIX_EPOCH);
        for outside in ["src=", "<link", "url(", "@import", "http://", "https://", "<script"] {
            let own = page.replace("&lt;img src=x", "");
            assert!(!own.contains(outside), "{outside}");
        }
        assert!(page.contains("default-src 'none'"));
    }
}
