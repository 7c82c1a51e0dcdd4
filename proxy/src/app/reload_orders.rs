//! Orders to reload, which are answered with the verdict on the configuration.

use super::{
    App,
    control_socket::{Acknowledgment, ReceivedOrder},
};

/// Orders that wait for a load, each with the number of its request.
#[derive(Debug, Default)]
pub(super) struct ReloadOrders(Vec<(u64, ReceivedOrder)>);

impl App {
    /// Asks for a load, and answers the order once a load that began after it has ended.
    pub(super) fn follow_reload(&mut self, received: ReceivedOrder) {
        match self.request_load() {
            Ok(request) => self.reload_orders.0.push((request, received)),
            Err(reason) => received.answer(Err(reason)),
        }
    }

    /// Answers the orders that a load covers: those up to the request with this number.
    pub(super) fn answer_reloads(&mut self, covered: u64, verdict: &Result<u64, String>) {
        let orders = &mut self.reload_orders.0;
        for (_, order) in orders.extract_if(.., |(request, _)| *request <= covered) {
            order.answer(verdict.clone().map(|generation| Acknowledgment::Reloaded { generation }));
        }
    }
}
