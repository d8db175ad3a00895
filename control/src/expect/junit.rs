//! The report as JUnit XML, which CI systems show.

use std::fmt::Write;

use super::ExpectReport;

/// One suite a topology, one case an expectation.
pub fn junit(report: &ExpectReport) -> String {
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let (lab, file) = (escape(&report.lab), escape(&report.file));
    // Writing to a string cannot fail.
    let _ = writeln!(
        xml,
        "<testsuites>\n  <testsuite name=\"{lab}\" tests=\"{}\" failures=\"{}\" errors=\"0\" \
         skipped=\"0\">",
        report.results.len(),
        report.failed
    );
    for outcome in &report.results {
        let line = outcome.place.rsplit(':').next().unwrap_or_default();
        let _ = write!(
            xml,
            "    <testcase classname=\"{lab}\" name=\"{}\" file=\"{file}\" line=\"{line}\"",
            escape(&outcome.name)
        );
        if outcome.passed {
            xml.push_str("/>\n");
            continue;
        }
        let first = outcome
            .wrong
            .first()
            .map(String::as_str)
            .unwrap_or_default();
        let _ = writeln!(
            xml,
            ">\n      <failure message=\"{}\">{}</failure>\n    </testcase>",
            escape(first),
            escape(&outcome.explanation())
        );
    }
    xml.push_str("  </testsuite>\n</testsuites>\n");
    xml
}

/// Text as XML 1.0 may carry it.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' => escaped.push(c),
            c if c.is_control() => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}
