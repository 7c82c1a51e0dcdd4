//! `portcullis status --host`: which worker gets the connections for a host, and why.

use super::table::{Align, TextTable, printable};
use crate::observe::HostView;

/// Text for a terminal; every line ends with a newline.
pub(crate) fn render(view: &HostView) -> String {
    let mut page = printable(&view.host);
    if let Some(pattern) = &view.pattern {
        page.push_str(&format!("  matches {}", printable(pattern)));
    }
    if let Some(workers) = &view.pinned {
        let workers: Vec<_> = workers.iter().map(u32::to_string).collect();
        page.push_str(&format!("  pinned to {}", workers.join(", ")));
    }
    let goes = view.worker.map_or(String::new(), |worker| format!("worker {worker}: "));
    page.push_str(&format!("\n{goes}{}\n", printable(&view.reason)));
    if !view.order.is_empty() {
        page.push('\n');
        page.push_str(&order(view));
    }
    page
}

fn order(view: &HostView) -> String {
    let mut table =
        TextTable::new(&[("WORKER", Align::Right), ("LOAD", Align::Right), ("STATE", Align::Left)]);
    for place in &view.order {
        let state = if place.available { "open" } else { "closed" };
        table.row([place.worker.to_string(), place.load.to_string(), state.to_owned()]);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::PlaceView;

    #[test]
    fn a_host_is_shown_with_its_workers_in_their_order() {
        let place = |worker, load, available| PlaceView { worker, load, available };
        let view = HostView {
            host: "a.example".into(),
            pattern: Some("*.example".into()),
            pinned: Some(vec![0, 2]),
            order: vec![place(2, 14, true), place(0, 3, false)],
            worker: Some(2),
            reason: "its first choice".into(),
        };
        assert_eq!(
            render(&view),
            "a.example  matches *.example  pinned to 0, 2\nworker 2: its first choice\n\n\
             WORKER  LOAD  STATE\n     2    14  open\n     0     3  closed\n"
        );
    }

    #[test]
    fn a_host_without_a_route_has_no_order() {
        let view = HostView {
            host: "x.test".into(),
            reason: "no route has this name: it is refused".into(),
            ..HostView::default()
        };
        assert_eq!(render(&view), "x.test\nno route has this name: it is refused\n");
    }
}
