//! The choice of a worker on larger machines: the table in docs/steering.md, with the seed that
//! made it.

mod model;

use std::{env, fmt::Write as _, fs, path::Path, sync::LazyLock};

use model::{Population, Report, Scenario};
use portcullis_abi::MAX_WORKERS;

const SEED: u64 = 7;
const BEGIN: &str = "<!-- simulation -->\n";
const END: &str = "<!-- /simulation -->";

/// Each scenario and its result.
static RUNS: LazyLock<Vec<(Scenario, Report)>> = LazyLock::new(|| {
    scenarios().into_iter().map(|scenario| (scenario, scenario.run(SEED))).collect()
});

fn scenarios() -> Vec<Scenario> {
    let zipf = |workers, names| Scenario { workers, names, popularity: Population::Zipf };
    let uniform = |workers, names| Scenario { workers, names, popularity: Population::Uniform };
    vec![
        zipf(8, 100),
        uniform(8, 100),
        zipf(8, 10_000),
        uniform(8, 10_000),
        zipf(32, 1_000),
        uniform(32, 1_000),
        zipf(32, 100_000),
        zipf(128, 1_000),
        uniform(128, 1_000),
        zipf(128, 100_000),
        uniform(128, 100_000),
        Scenario { workers: 16, names: 50, popularity: Population::OneHot },
    ]
}

#[test]
fn no_worker_carries_much_more_than_its_share() {
    for (scenario, report) in &*RUNS {
        assert!(report.busiest_over_mean < 1.3, "seed {SEED}, {scenario:?}: {report:?}");
    }
}

#[test]
fn a_name_has_fewer_pools_than_it_would_have_unsteered() {
    for (scenario, report) in &*RUNS {
        assert!(report.pools < report.pools_unsteered, "seed {SEED}, {scenario:?}: {report:?}");
    }
}

#[test]
fn adding_or_removing_a_worker_moves_only_its_share_of_names() {
    for scenario in scenarios() {
        let moves = scenario.moves();
        assert_eq!(moves.between_others, 0, "{scenario:?}");
        let share = f64::from(scenario.names) / f64::from(scenario.workers);
        let near = |count: u32| (f64::from(count) / share - 1.0).abs() < 0.5;
        if share > 30.0 {
            assert!(near(moves.gone), "{scenario:?}: {moves:?}");
            assert!(near(moves.came) || scenario.workers == MAX_WORKERS, "{scenario:?}: {moves:?}");
        }
    }
}

#[test]
fn the_table_in_the_documentation_is_what_the_simulation_gives() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/steering.md");
    let text = fs::read_to_string(&page).expect("docs/steering.md");
    let (before, rest) = text.split_once(BEGIN).expect("a place for the table");
    let (table, after) = rest.split_once(END).expect("the end of the table");
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&page, format!("{before}{BEGIN}{}{END}{after}", documented())).unwrap();
    } else {
        assert_eq!(table, documented(), "run with UPDATE_DOCS=1 to write docs/steering.md");
    }
}

fn documented() -> String {
    let mut table = String::from(
        "| workers | names | popularity | busiest / mean | spilled | pools per name | unsteered \
         | moved when a worker goes |\n|---|---|---|---|---|---|---|---|\n",
    );
    for (scenario, report) in &*RUNS {
        let Scenario { workers, names, popularity } = scenario;
        let Report { busiest_over_mean, spilled, pools, pools_unsteered } = report;
        let moved = 100.0 * f64::from(scenario.moves().gone) / f64::from(*names);
        let spilled = 100.0 * spilled;
        writeln!(
            table,
            "| {workers} | {names} | {popularity} | {busiest_over_mean:.2} | {spilled:.1} % \
             | {pools:.1} | {pools_unsteered:.1} | {moved:.1} % |"
        )
        .expect("a string takes it");
    }
    table
}
