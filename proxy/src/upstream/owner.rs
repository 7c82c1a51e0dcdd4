//! Upstream connections that serve one client alone.

use std::{
    cell::{Cell, OnceCell, RefCell},
    rc::Rc,
};

use super::{endpoint_pool::EndpointPool, pool::OwnerId};

/// A client connection as the owner of upstream connections. An upstream may have authenticated the
/// client on them (NTLM, Negotiate), so they serve no other client, and are closed when this is dropped.
#[derive(Debug, Default)]
pub(crate) struct ConnectionOwner(OnceCell<Rc<Owner>>);

/// The owner of upstream connections. Most clients own none.
#[derive(Debug)]
pub(super) struct Owner {
    pub(super) id: OwnerId,
    /// The pools that may hold its connections.
    pools: RefCell<Vec<Rc<EndpointPool>>>,
}

thread_local! {
    static NEXT_ID: Cell<u64> = const { Cell::new(0) };
}

impl ConnectionOwner {
    /// `None` if the client owns no connection.
    pub(super) fn get(&self) -> Option<&Rc<Owner>> {
        self.0.get()
    }

    /// As an owner of connections to this endpoint.
    pub(super) fn at(&self, pool: &Rc<EndpointPool>) -> &Rc<Owner> {
        let owner = self.0.get_or_init(|| Rc::new(Owner::new()));
        let mut pools = owner.pools.borrow_mut();
        if !pools.iter().any(|known| Rc::ptr_eq(known, pool)) {
            pools.push(Rc::clone(pool));
        }
        owner
    }
}

impl Owner {
    fn new() -> Owner {
        let id = NEXT_ID.get();
        NEXT_ID.set(id.wrapping_add(1));
        Owner { id: OwnerId(id), pools: RefCell::default() }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        for pool in self.pools.get_mut() {
            pool.close_owned(self.id);
        }
    }
}
