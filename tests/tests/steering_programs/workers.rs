//! Workers that are overloaded, accept nothing, or are gone.

use portcullis_abi::{Balance, Home, Reason, SLACK, Verdict, WorkerSet, place};

use crate::stand::{SETTINGS, Stand, WORKERS, host, in_network, key};

/// A name whose connections any worker may get.
fn free(name: &str) -> Home {
    Home::of_name(name.as_bytes(), WorkerSet::ALL)
}

#[test]
fn the_kernel_chooses_as_the_function_for_user_space_does() {
    in_network(|network| {
        network.sysctl("ipv4/tcp_syncookies", "2");
        let names: Vec<String> = (0..50).map(|name| format!("n{name}.example.com")).collect();
        let entries: Vec<_> = names.iter().map(|name| (key(name), free(name))).collect();
        let stand = Stand::on(&["127.0.0.1:0"], &entries);
        let slots = stand.kernel.slots();
        let (mut spilled, mut seed) = (0, 1_u32);
        for round in 0..10 {
            for name in &names {
                for slot in &slots[..WORKERS as usize] {
                    seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    slot.set_load(seed >> 22);
                    slot.set_available(seed >> 16 & 7 != 0);
                }
                let Some(placed) = place(&free(name), SETTINGS.balance, &**slots) else { continue };
                assert_eq!(stand.worker_for(name), placed.worker, "{name} in round {round}");
                spilled += u64::from(placed.reason == Reason::Spilled);
                slots[placed.worker as usize].take();
            }
        }
        assert!(spilled > 20, "{spilled}");
        assert_eq!(stand.count(Verdict::Spilled), spilled);
    });
}

#[test]
fn all_workers_there_can_be_are_looked_at() {
    in_network(|network| {
        let mut stand = Stand::new(network, "127.0.0.1:0");
        let balance = Balance { workers: portcullis_abi::MAX_WORKERS, max_load_percent: 125 };
        stand
            .kernel
            .set_settings(portcullis_abi::SteeringSettings { balance, ..SETTINGS })
            .unwrap();
        assert_eq!(stand.worker_for(&host(2)), 2);
        // The last worker has no socket, which the kernel detects when the program selects it.
        let last = portcullis_abi::MAX_WORKERS - 1;
        let home = Home::of_name(b"last", WorkerSet::EMPTY.with(last));
        stand.kernel.set_names(&[(key("last.example.com"), home)]).unwrap();
        stand.kernel.slots()[last as usize].set_available(true);
        stand.worker_for("last.example.com");
        assert_eq!(stand.count(Verdict::SelectFailed), 1);
    });
}

#[test]
fn connections_under_way_count_towards_the_load() {
    in_network(|network| {
        network.sysctl("ipv4/tcp_syncookies", "2");
        let stand = Stand::on(&["127.0.0.1:0"], &[(key("hot.example.com"), free("hot"))]);
        let mut counts = [0_u32; WORKERS as usize];
        for _ in 0..400 {
            counts[stand.worker_for("hot.example.com") as usize] += 1;
        }
        // None was accepted, so all are on their way: no worker exceeds 1.25 times the mean plus
        // slack.
        assert!(counts.iter().all(|count| *count <= 126 + SLACK), "{counts:?}");
        let loads: Vec<_> =
            stand.kernel.slots().iter().filter_map(portcullis_abi::WorkerSlot::current).collect();
        assert_eq!(loads, counts);
    });
}

#[test]
fn a_worker_whose_socket_is_gone_costs_no_connection() {
    in_network(|network| {
        let mut stand = Stand::new(network, "127.0.0.1:0");
        stand.kill(1);
        for _ in 0..20 {
            assert_ne!(stand.worker_for(&host(1)), 1);
        }
        assert_eq!(stand.count(Verdict::SelectFailed), 20);
        let gone = &stand.kernel.slots()[1];
        assert_eq!(gone.current(), Some(0), "nothing is on its way there");
    });
}

#[test]
fn a_worker_that_takes_none_is_passed_over() {
    in_network(|network| {
        network.sysctl("ipv4/tcp_syncookies", "2");
        let name = "app.example.com";
        let stand = Stand::on(&["127.0.0.1:0"], &[(key(name), free(name))]);
        let home = stand.worker_for(name);
        let slots = stand.kernel.slots();
        slots[home as usize].take();
        slots[home as usize].set_available(false);
        let next = stand.worker_for(name);
        assert_ne!(next, home);
        assert_eq!(stand.count(Verdict::WorkerUnavailable), 1);
        // None at all: the kernel makes its own choice.
        slots.iter().for_each(|slot| slot.set_available(false));
        stand.worker_for(name);
        assert_eq!(stand.count(Verdict::SelectFailed), 1);
    });
}
