//! Both kernel programs over real sockets, each test in a network of its own. All need root.

mod hellos;
mod stand;
