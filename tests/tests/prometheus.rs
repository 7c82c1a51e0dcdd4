//! The alert rules and the dashboard, judged by a real Prometheus that scrapes a proxy.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use portcullis_tests::{
    Backend, Ca, Load, Proxy, ports::free_port, process::Process, process::run, tempdir::TempDir,
    tools::need, wait::until,
};
use serde_json::Value;

#[test]
fn every_alert_fires_for_its_reason_and_for_no_other() {
    let tested = promtool(&["test", "rules"], "portcullis.test.yaml");
    assert!(tested.contains("SUCCESS"), "{tested}");
    let (rules, tests) =
        (read("prometheus/portcullis.rules.yaml"), read("prometheus/portcullis.test.yaml"));
    let alerts: Vec<_> = rules.lines().filter_map(|line| line.split("- alert: ").nth(1)).collect();
    assert!(alerts.len() > 10, "{alerts:?}");
    for alert in alerts {
        let cases: Vec<_> = tests
            .split("  - interval: ")
            .filter(|case| case.contains(&format!("\"{alert}\"")))
            .collect();
        let fires = |case: &&&str| !case.contains("exp_samples: []");
        assert!(cases.iter().any(|case| fires(&case)), "no case fires {alert}");
        assert!(cases.iter().any(|case| !fires(&case)), "no case leaves {alert} silent");
    }
}

#[test]
fn the_rules_select_series_that_the_proxy_has() {
    assert!(promtool(&["check", "rules"], "portcullis.rules.yaml").contains("SUCCESS"));
    let proxy = Proxy::config().forward("app", "http://127.0.0.1:1", "").start();
    assert_eq!(proxy.curl("app", "/").run().status, 503);
    let metrics = proxy.admin("/metrics").expect("the metrics").body;
    let text = String::from_utf8_lossy(&metrics).into_owned();
    let rules = read("prometheus/portcullis.rules.yaml");
    let selectors: Vec<_> = selectors(&rules).collect();
    assert!(selectors.len() > 5, "{selectors:?}");
    for (name, label) in selectors {
        let is_series = |line: &str| {
            line.starts_with("portcullis_") && line.contains(name) && line.contains(label)
        };
        assert!(text.lines().any(is_series), "no series is {name}{{{label}}}");
    }
    let checked = run(Command::new(need("promtool")).args(["check", "metrics"]), &metrics);
    assert_eq!(checked.code, Some(0), "{checked:?}");
}

#[test]
fn the_rules_and_the_dashboard_name_metrics_that_exist() {
    let table = fs::read_to_string(root().join("docs/metrics.md")).expect("the page of metrics");
    for file in ["prometheus/portcullis.rules.yaml", "grafana/portcullis.json"] {
        let text = read(file);
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let names = text.split(|c| !is_part(c)).filter(|word| word.starts_with("portcullis_"));
        for name in names {
            let name = name.trim_end_matches("_bucket");
            assert!(table.contains(&format!("| `{name}` |")), "{file} names {name}");
        }
    }
}

#[test]
fn every_alert_is_in_the_page_of_what_to_do() {
    let page = fs::read_to_string(root().join("docs/monitoring.md")).expect("the page of alerts");
    let rules = read("prometheus/portcullis.rules.yaml");
    for alert in rules.lines().filter_map(|line| line.split("- alert: ").nth(1)) {
        assert!(page.contains(alert), "docs/monitoring.md does not say what to do about {alert}");
    }
}

#[test]
fn every_expression_of_the_dashboard_has_values() {
    let dir = TempDir::new("prometheus");
    let ca = Ca::new(&dir, "ca");
    let list = dir.write("crl.pem", ca.crl(&[]));
    let file = ca.certificate();
    let mtls =
        format!("downstream_mtls: {{ca_file: {file:?}, crl_file: {list:?}, enforcement: policy}}");
    let backend = Backend::text("x");
    let proxy = Proxy::config().global(&mtls).forward("app", &backend.url(), "").start();
    let load = Load::start(&proxy, "app", 2);
    load.wait_for(50);

    let prometheus = Prometheus::start(&dir, &proxy);
    let dashboard: Value = serde_json::from_str(&read("grafana/portcullis.json")).expect("JSON");
    let expressions: Vec<_> = expressions(&dashboard);
    assert!(expressions.len() > 30, "{expressions:?}");
    for expression in expressions {
        until(&format!("values of {expression}"), || prometheus.has_values(&expression));
    }
    load.stop();
}

/// A running Prometheus that scrapes one proxy.
struct Prometheus {
    address: String,
    _process: Process,
}

impl Prometheus {
    fn start(dir: &TempDir, proxy: &Proxy) -> Prometheus {
        let address = format!("127.0.0.1:{}", free_port());
        let target = proxy.admin_address();
        let config = dir.write(
            "prometheus.yml",
            format!(
                "global: {{scrape_interval: 500ms, scrape_timeout: 500ms}}\nscrape_configs:\n  \
                 - job_name: portcullis\n    static_configs: [{{targets: ['{target}']}}]\n"
            ),
        );
        let mut command = Command::new(need("prometheus"));
        command.arg(format!("--config.file={}", config.display()));
        command.arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()));
        command.arg(format!("--web.listen-address={address}"));
        Prometheus { _process: Process::spawn("prometheus", &mut command), address }
    }

    /// Whether an expression gives at least one value that is a number.
    fn has_values(&self, expression: &str) -> bool {
        let mut curl = Command::new(need("curl"));
        curl.args(["-sG", &format!("http://{}/api/v1/query", self.address)]);
        let answer = run(curl.args(["--data-urlencode", &format!("query={expression}")]), b"");
        let Ok(answer) = serde_json::from_str::<Value>(&answer.stdout) else { return false };
        assert_eq!(answer["status"], "success", "{expression}: {answer}");
        let values = answer["data"]["result"].as_array().expect("a list of series");
        values.iter().any(|series| series["value"][1].as_str().is_some_and(|value| value != "NaN"))
    }
}

/// Each metric with the label that it is selected by: `portcullis_steering_mode`, `mode="kernel"`.
fn selectors(rules: &str) -> impl Iterator<Item = (&str, &str)> {
    rules.split("portcullis_").skip(1).filter_map(|rest| {
        let (name, label) = rest.split_once('{')?;
        let is_name = name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        let (label, _) = label.split_once('}')?;
        (is_name && label.contains("=\"")).then_some((name, label))
    })
}

/// What the panels ask, with their variables filled in.
fn expressions(dashboard: &Value) -> Vec<String> {
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let expressions = targets.filter_map(|target| target["expr"].as_str());
    expressions
        .map(|text| text.replace("$__rate_interval", "10s").replace("$instance", ".*"))
        .collect()
}

fn promtool(command: &[&str], file: &str) -> String {
    let mut promtool = Command::new(need("promtool"));
    promtool.args(command).arg(packaging().join("prometheus").join(file));
    let done = run(&mut promtool, b"");
    assert_eq!(done.code, Some(0), "{done:?}");
    done.stdout + &done.stderr
}

fn read(file: &str) -> String {
    fs::read_to_string(packaging().join(file)).expect("a file in UTF-8")
}

fn packaging() -> PathBuf {
    root().join("packaging")
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace above this package")
}
