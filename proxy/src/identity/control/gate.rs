//! Bounds the calls to the provider: so many at once, so many waiting.

use std::{cell::RefCell, collections::HashMap, net::IpAddr, rc::Rc, sync::Arc};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::identity::spec::client_network;

/// Maximum number of calls under way.
const MOST_AT_ONCE: usize = 32;
/// Maximum number of calls that wait for their turn.
const MOST_WAITING: usize = 64;
/// From so many waiting on, checks of sessions do not wait (the sessions stay as they are), and one
/// client's network has few places: an office behind one address can sign in at nine o'clock, and a
/// flood from one address does not take all places.
const HALF_FULL: usize = MOST_WAITING / 2;
/// The places of one network then.
const MOST_OF_NETWORK: usize = 4;

/// The queue of calls to the provider.
#[derive(Debug)]
pub(super) struct CallGate {
    slots: Arc<Semaphore>,
    waiting: RefCell<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    count: usize,
    by_network: HashMap<IpAddr, usize>,
}

/// What a call is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CallPurpose {
    /// Somebody waits before a sign-in.
    SignIn,
    /// A session that can go on without it.
    Recheck,
}

/// A place in the queue.
#[derive(Debug)]
pub(super) struct Turn {
    slot: Option<OwnedSemaphorePermit>,
    place: Option<WaitingPlace>,
    slots: Arc<Semaphore>,
}

/// Counts as waiting until it is dropped.
#[derive(Debug)]
struct WaitingPlace {
    gate: Rc<CallGate>,
    network: Option<IpAddr>,
}

impl CallGate {
    pub(super) fn new() -> Rc<CallGate> {
        let slots = Arc::new(Semaphore::new(MOST_AT_ONCE));
        Rc::new(CallGate { slots, waiting: RefCell::default() })
    }

    /// Takes a place; `None` if there is none for this purpose and client.
    pub(super) fn enter(
        self: &Rc<Self>,
        purpose: CallPurpose,
        client: Option<IpAddr>,
    ) -> Option<Turn> {
        let slots = Arc::clone(&self.slots);
        if let Ok(slot) = Arc::clone(&slots).try_acquire_owned() {
            return Some(Turn { slot: Some(slot), place: None, slots });
        }
        let network = client.map(client_network);
        let mut waiting = self.waiting.borrow_mut();
        let of_network = network.and_then(|network| waiting.by_network.get(&network).copied());
        let is_half_full = waiting.count >= HALF_FULL;
        let is_crowded = purpose == CallPurpose::Recheck
            || of_network.is_some_and(|count| count >= MOST_OF_NETWORK);
        if waiting.count >= MOST_WAITING || (is_half_full && is_crowded) {
            return None;
        }
        waiting.count += 1;
        if let Some(network) = network {
            *waiting.by_network.entry(network).or_default() += 1;
        }
        let place = WaitingPlace { gate: Rc::clone(self), network };
        Some(Turn { slot: None, place: Some(place), slots })
    }
}

impl Turn {
    /// Waits for the turn; the call may go on until the slot is dropped.
    pub(super) async fn slot(self) -> Option<OwnedSemaphorePermit> {
        let Turn { slot, place, slots } = self;
        let slot = match slot {
            Some(slot) => Some(slot),
            // It is never closed.
            None => slots.acquire_owned().await.ok(),
        };
        drop(place);
        slot
    }
}

impl Drop for WaitingPlace {
    fn drop(&mut self) {
        let mut waiting = self.gate.waiting.borrow_mut();
        waiting.count -= 1;
        let Some(network) = self.network else { return };
        if let Some(count) = waiting.by_network.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                waiting.by_network.remove(&network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    const OFFICE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn v6(network: u16, host: u16) -> IpAddr {
        Ipv6Addr::new(0x2001, 0xdb8, 0, network, 0, 0, 0, host).into()
    }

    fn enter(gate: &Rc<CallGate>, client: IpAddr) -> Option<Turn> {
        gate.enter(CallPurpose::SignIn, Some(client))
    }

    #[test]
    fn an_office_behind_one_address_fills_half_the_queue() {
        let gate = CallGate::new();
        let turns: Vec<_> = (0..200).filter_map(|_| enter(&gate, OFFICE)).collect();
        assert_eq!(turns.len(), MOST_AT_ONCE + HALF_FULL);
        assert!(enter(&gate, v6(1, 1)).is_some(), "others have places left");
    }

    #[test]
    fn ipv6_addresses_of_one_network_count_as_one_client() {
        let gate = CallGate::new();
        let _office: Vec<_> = (0..200).filter_map(|_| enter(&gate, OFFICE)).collect();
        let one: Vec<_> = (0..200).filter_map(|host| enter(&gate, v6(1, host))).collect();
        assert_eq!(one.len(), MOST_OF_NETWORK);
        let others: Vec<_> = (2..200).filter_map(|network| enter(&gate, v6(network, 1))).collect();
        assert_eq!(one.len() + others.len(), HALF_FULL);
    }

    #[test]
    fn checks_leave_half_the_queue_to_sign_ins() {
        let gate = CallGate::new();
        let client = |host| v6(host, 1);
        let check = |host| gate.enter(CallPurpose::Recheck, Some(client(host)));
        let checks: Vec<_> = (0..200).filter_map(check).collect();
        assert_eq!(checks.len(), MOST_AT_ONCE + HALF_FULL);
        assert!(enter(&gate, client(300)).is_some());
    }

    #[test]
    fn a_call_that_ends_gives_its_slot_to_the_next() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let gate = CallGate::new();
            let mut running = Vec::new();
            for _ in 0..MOST_AT_ONCE {
                running.extend(enter(&gate, OFFICE).unwrap().slot().await);
            }
            let mut waits = std::pin::pin!(enter(&gate, OFFICE).unwrap().slot());
            tokio::select! {
                biased;
                _ = &mut waits => panic!("more calls than may be"),
                () = std::future::ready(()) => {}
            }
            assert_eq!(gate.waiting.borrow().count, 1);
            running.pop();
            assert!(waits.await.is_some());
            assert_eq!(gate.waiting.borrow().count, 0);
            assert!(gate.waiting.borrow().by_network.is_empty());
        });
    }

    #[test]
    fn a_caller_that_goes_away_gives_its_place_up() {
        let gate = CallGate::new();
        let turns: Vec<_> = (0..200).filter_map(|_| enter(&gate, OFFICE)).collect();
        assert!(enter(&gate, OFFICE).is_none());
        drop(turns);
        assert_eq!(gate.waiting.borrow().count, 0);
        assert!(enter(&gate, OFFICE).is_some());
    }
}
