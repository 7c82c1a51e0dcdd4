//! A relay of bytes on io_uring, set up as the proxy sets up its rings: no TLS, no HTTP.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Result, anyhow, ensure};
use rustix::thread::{CpuSet, sched_setaffinity};
use tokio_uring::{
    buf::BoundedBuf,
    net::{TcpListener as RelayListener, TcpStream as RelayStream},
};

use super::{Arguments, cpu_time};

const BUFFER_BYTES: usize = 16 * 1024;
const WARM_UP: Duration = Duration::from_millis(300);

/// What the clients have done, and whether they must stop.
#[derive(Default)]
struct Clients {
    exchanges: AtomicU64,
    ended: AtomicBool,
}

/// CPU microseconds of the relay's thread for a request and its response, on connections that stay
/// open, with a socket for each direction.
pub(super) fn cost(arguments: &Arguments) -> Result<f64> {
    let clients = Arc::new(Clients::default());
    let upstream = upstream(arguments)?;
    let front = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0))?;
    let address = front.local_addr()?;
    let relay = {
        let (clients, connections) = (Arc::clone(&clients), arguments.connections);
        let counted = Duration::from_secs_f64(arguments.relay_seconds);
        thread::spawn(move || relay(front, upstream, connections, counted, &clients))
    };
    let loops: Vec<_> = (0..arguments.connections)
        .map(|_| client(address, Arc::clone(&clients), arguments))
        .collect();
    for one in loops {
        one.join().map_err(|_| anyhow!("a client of the relay panicked"))??;
    }
    relay.join().map_err(|_| anyhow!("the relay panicked"))?
}

fn relay(
    front: TcpListener,
    upstream: SocketAddr,
    connections: usize,
    counted: Duration,
    clients: &Clients,
) -> Result<f64> {
    run_on(0);
    let mut ring = tokio_uring::uring_builder();
    ring.setup_single_issuer().setup_coop_taskrun().setup_taskrun_flag();
    let mut builder = tokio_uring::builder();
    builder.entries(1024).uring_builder(&ring).start(async {
        let front = RelayListener::from_std(front);
        let mut pumps = Vec::new();
        for _ in 0..connections {
            let (client, _) = front.accept().await?;
            let server = RelayStream::connect(upstream).await?;
            client.set_nodelay(true)?;
            server.set_nodelay(true)?;
            let (client, server) = (Rc::new(client), Rc::new(server));
            pumps.push(tokio_uring::spawn(pump(Rc::clone(&client), Rc::clone(&server))));
            pumps.push(tokio_uring::spawn(pump(server, client)));
        }
        tokio::time::sleep(WARM_UP).await;
        let now = || (cpu_time(), clients.exchanges.load(Ordering::Relaxed));
        let (time, exchanges) = now();
        tokio::time::sleep(counted).await;
        let (time, exchanges) = (now().0 - time, now().1 - exchanges);
        clients.ended.store(true, Ordering::Relaxed);
        for pump in pumps {
            pump.await??;
        }
        ensure!(exchanges > 0, "nothing passed the relay");
        Ok(time.as_secs_f64() * 1e6 / exchanges as f64)
    })
}

/// Relays bytes until the end of the stream, then relays the end.
async fn pump(from: Rc<RelayStream>, to: Rc<RelayStream>) -> Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let (read, filled) = from.read(buffer).await;
        let read = read?;
        if read == 0 {
            return Ok(to.shutdown(std::net::Shutdown::Write)?);
        }
        let (written, rest) = to.write_all(filled.slice(..read)).await;
        written?;
        buffer = rest.into_inner();
    }
}

/// Answers every request, and stops when the connections end.
fn upstream(arguments: &Arguments) -> Result<SocketAddr> {
    let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let (connections, request, response) =
        (arguments.connections, arguments.request_bytes, arguments.response_bytes);
    thread::spawn(move || {
        run_on(1);
        for stream in listener.incoming().take(connections).flatten() {
            thread::spawn(move || answer(stream, vec![0; request], &vec![7; response]));
        }
    });
    Ok(address)
}

fn answer(mut stream: TcpStream, mut request: Vec<u8>, response: &[u8]) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    loop {
        stream.read_exact(&mut request)?;
        stream.write_all(response)?;
    }
}

fn client(
    address: SocketAddr,
    clients: Arc<Clients>,
    arguments: &Arguments,
) -> JoinHandle<Result<()>> {
    let (request, mut response) =
        (vec![1; arguments.request_bytes], vec![0; arguments.response_bytes]);
    thread::spawn(move || {
        run_on(1);
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        while !clients.ended.load(Ordering::Relaxed) {
            stream.write_all(&request)?;
            stream.read_exact(&mut response)?;
            clients.exchanges.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    })
}

/// Moves this thread to a core, so that the relay has one alone; without that core nothing changes.
fn run_on(cpu: usize) {
    let mut set = CpuSet::new();
    set.set(cpu);
    let _ = sched_setaffinity(None, &set);
}
