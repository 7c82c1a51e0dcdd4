//! The lines of the protocol.

/// Begins every line.
const PROTOCOL: &str = "portcullis/1 ";

/// An order to a running process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Order {
    /// Another process serves at the same addresses: drain and exit.
    Leave,
    /// Give a worker no new connections, or give it connections again.
    DrainWorker { worker: u32, drained: bool },
}

impl Order {
    /// The line that gives it.
    pub(super) fn line(self) -> String {
        match self {
            Order::Leave => format!("{PROTOCOL}drain"),
            Order::DrainWorker { worker, drained: true } => {
                format!("{PROTOCOL}drain-worker {worker}")
            }
            Order::DrainWorker { worker, drained: false } => {
                format!("{PROTOCOL}undrain-worker {worker}")
            }
        }
    }

    /// `None` for a line of another protocol.
    pub(super) fn parse(line: &str) -> Option<Order> {
        let words: Vec<_> = line.strip_prefix(PROTOCOL)?.split(' ').collect();
        let of_worker = |worker: &str, drained| {
            Some(Order::DrainWorker { worker: worker.parse().ok()?, drained })
        };
        match words[..] {
            ["drain"] => Some(Order::Leave),
            ["drain-worker", worker] => of_worker(worker, true),
            ["undrain-worker", worker] => of_worker(worker, false),
            _ => None,
        }
    }

    /// The line that says it is followed.
    pub(super) fn acknowledgment(self) -> String {
        match self {
            Order::Leave => format!("{PROTOCOL}draining"),
            Order::DrainWorker { .. } => format!("{PROTOCOL}done"),
        }
    }
}

/// The line that says why an order is not followed.
pub(super) fn refusal(reason: &str) -> String {
    format!("{PROTOCOL}refused {reason}")
}

/// Why an order was not followed, by the line that answers it.
pub(super) fn reason(answer: &str) -> String {
    match answer.strip_prefix(PROTOCOL).and_then(|answer| answer.strip_prefix("refused ")) {
        Some(reason) => reason.escape_debug().to_string(),
        None => format!("unexpected answer: {}", answer.escape_debug()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_comes_back_from_its_line() {
        let orders = [true, false].map(|drained| Order::DrainWorker { worker: 3, drained });
        for order in orders.into_iter().chain([Order::Leave]) {
            assert_eq!(Order::parse(&order.line()), Some(order));
        }
    }

    #[test]
    fn other_lines_are_no_orders() {
        for line in [
            "",
            "drain",
            "portcullis/9 drain",
            "portcullis/1 drain 1",
            "portcullis/1 drain-worker",
            "portcullis/1 drain-worker x",
            "portcullis/1 drain-worker 1 2",
            "portcullis/1 drain-worker -1",
        ] {
            assert_eq!(Order::parse(line), None, "{line:?}");
        }
    }
}
