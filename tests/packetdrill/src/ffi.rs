//! packetdrill's plug-in interface: C's side of `Host`.
//!
//! The only file with unsafe code; ADR 10 (`docs/adr`) says why. It reads and writes memory of packetdrill's for the length of one call, and
//! keeps no pointer. All state is behind `Host`'s lock.

use std::ffi::{CStr, c_char, c_int, c_long, c_longlong, c_uint, c_ulong, c_void};
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};
use std::{ptr, slice};

use crate::call::{Call, PollItem};
use crate::errno::{Answer, Errno};
use crate::host::Host;
use crate::settings::Settings;

type Data = *mut c_void;

/// `struct packetdrill_interface`, field for field.
///
/// `fcntl` and `ioctl` take "..." in C. Here they name the one argument that
/// scripts pass: the C calling conventions of Linux's 64-bit targets pass it in
/// the same register either way.
#[repr(C)]
pub struct Interface {
    userdata: Data,
    free: unsafe extern "C" fn(Data),
    socket: unsafe extern "C" fn(Data, c_int, c_int, c_int) -> c_int,
    bind: unsafe extern "C" fn(Data, c_int, *const libc::sockaddr, libc::socklen_t) -> c_int,
    listen: unsafe extern "C" fn(Data, c_int, c_int) -> c_int,
    accept: unsafe extern "C" fn(Data, c_int, *mut libc::sockaddr, *mut libc::socklen_t) -> c_int,
    connect: unsafe extern "C" fn(Data, c_int, *const libc::sockaddr, libc::socklen_t) -> c_int,
    read: unsafe extern "C" fn(Data, c_int, *mut c_void, usize) -> isize,
    readv: unsafe extern "C" fn(Data, c_int, *const libc::iovec, c_int) -> isize,
    recv: unsafe extern "C" fn(Data, c_int, *mut c_void, usize, c_int) -> isize,
    recvfrom: unsafe extern "C" fn(
        Data,
        c_int,
        *mut c_void,
        usize,
        c_int,
        *mut libc::sockaddr,
        *mut libc::socklen_t,
    ) -> isize,
    recvmsg: unsafe extern "C" fn(Data, c_int, *mut libc::msghdr, c_int) -> isize,
    write: unsafe extern "C" fn(Data, c_int, *const c_void, usize) -> isize,
    writev: unsafe extern "C" fn(Data, c_int, *const libc::iovec, c_int) -> isize,
    send: unsafe extern "C" fn(Data, c_int, *const c_void, usize, c_int) -> isize,
    sendto: unsafe extern "C" fn(
        Data,
        c_int,
        *const c_void,
        usize,
        c_int,
        *const libc::sockaddr,
        libc::socklen_t,
    ) -> isize,
    sendmsg: unsafe extern "C" fn(Data, c_int, *const libc::msghdr, c_int) -> isize,
    fcntl: unsafe extern "C" fn(Data, c_int, c_int, c_long) -> c_int,
    ioctl: unsafe extern "C" fn(Data, c_int, c_ulong, *mut c_int) -> c_int,
    close: unsafe extern "C" fn(Data, c_int) -> c_int,
    shutdown: unsafe extern "C" fn(Data, c_int, c_int) -> c_int,
    getsockopt:
        unsafe extern "C" fn(Data, c_int, c_int, c_int, *mut c_void, *mut libc::socklen_t) -> c_int,
    setsockopt:
        unsafe extern "C" fn(Data, c_int, c_int, c_int, *const c_void, libc::socklen_t) -> c_int,
    poll: unsafe extern "C" fn(Data, *mut libc::pollfd, libc::nfds_t, c_int) -> c_int,
    netdev_send: unsafe extern "C" fn(Data, *const c_void, usize) -> c_int,
    netdev_receive: unsafe extern "C" fn(Data, *mut c_void, *mut usize, *mut c_longlong) -> c_int,
    usleep: unsafe extern "C" fn(Data, c_uint) -> c_int,
    gettimeofday: unsafe extern "C" fn(Data, *mut libc::timeval, *mut c_void) -> c_int,
    epoll_create: unsafe extern "C" fn(Data, c_int) -> c_int,
    epoll_ctl: unsafe extern "C" fn(Data, c_int, c_int, c_int, *mut libc::epoll_event) -> c_int,
    epoll_wait: unsafe extern "C" fn(Data, c_int, *mut libc::epoll_event, c_int, c_int) -> c_int,
    pipe: unsafe extern "C" fn(Data, *mut c_int) -> c_int,
    splice: unsafe extern "C" fn(Data, c_int, *mut i64, c_int, *mut i64, usize, c_uint) -> isize,
}

/// Fills packetdrill's table of functions in. Flags that make no sense end the
/// process with a message: a test must not run with others than were asked for.
///
/// # Safety
/// `flags` is null or a C string; `interface` points to a `struct
/// packetdrill_interface`. The functions may be called from any thread until
/// `free` was.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn packetdrill_interface_init(
    flags: *const c_char,
    interface: *mut Interface,
) {
    let text = if flags.is_null() {
        ""
    } else {
        // SAFETY: not null, so a C string, as the caller promises.
        unsafe { CStr::from_ptr(flags) }.to_str().unwrap_or("?")
    };
    let settings = Settings::parse(text).unwrap_or_else(|why| {
        eprintln!("pollwire-packetdrill: {why}");
        std::process::abort()
    });
    let userdata = Box::into_raw(Box::new(Host::new(settings))).cast();
    // SAFETY: the caller's table, to which nobody else refers yet.
    unsafe { interface.write(table(userdata)) };
}

fn table(userdata: Data) -> Interface {
    Interface {
        userdata,
        free,
        socket,
        bind,
        listen,
        accept,
        connect,
        read,
        readv,
        recv,
        recvfrom,
        recvmsg,
        write,
        writev,
        send,
        sendto,
        sendmsg,
        fcntl,
        ioctl,
        close,
        shutdown,
        getsockopt,
        setsockopt,
        poll,
        netdev_send,
        netdev_receive,
        usleep,
        gettimeofday,
        epoll_create,
        epoll_ctl,
        epoll_wait,
        pipe,
        splice,
    }
}

/// # Safety
/// `data` is what [`packetdrill_interface_init`] gave, and not freed.
unsafe fn host<'a>(data: Data) -> &'a Host {
    // SAFETY: a `Host` from `Box::into_raw`, only ever borrowed shared; what it
    // guards is reached through its lock.
    unsafe { &*data.cast::<Host>() }
}

/// -1 and `errno`, or the value.
fn give<T: From<i8>>(answer: Answer<T>) -> T {
    answer.unwrap_or_else(|error| {
        // SAFETY: the calling thread's own errno, always valid to write.
        unsafe { *libc::__errno_location() = error.0 };
        T::from(-1)
    })
}

/// # Safety
/// `data` as for [`host`].
unsafe fn wait(data: Data, call: Call) -> (Call, Answer<isize>) {
    // SAFETY: as the caller promises.
    let (call, answer) = unsafe { host(data) }.wait(call);
    (
        call,
        answer.map(isize::try_from).map(Result::unwrap_or_default),
    )
}

/// A descriptor that nobody else has: packetdrill closes those that a script
/// leaves open itself, as files.
fn reserve() -> Answer<c_int> {
    let file = File::open("/dev/null").map_err(|_| Errno(libc::EMFILE))?;
    Ok(file.into_raw_fd())
}

/// Gives a descriptor of [`reserve`]'s back.
fn release(fd: c_int) {
    // SAFETY: the descriptor was reserved, and its socket is gone just now: it
    // is nobody's but ours.
    drop(unsafe { OwnedFd::from_raw_fd(fd) });
}

/// # Safety
/// `address` is null or points to `len` readable bytes.
unsafe fn address(address: *const libc::sockaddr, len: libc::socklen_t) -> Answer<SocketAddr> {
    if address.is_null() || (len as usize) < size_of::<libc::sockaddr_in>() {
        return Err(Errno(libc::EINVAL));
    }
    // SAFETY: at least a `sockaddr_in`'s bytes are readable, of any alignment.
    let found = unsafe { address.cast::<libc::sockaddr_in>().read_unaligned() };
    if c_int::from(found.sin_family) != libc::AF_INET {
        return Err(Errno(libc::EAFNOSUPPORT));
    }
    let ip = Ipv4Addr::from(u32::from_be(found.sin_addr.s_addr));
    Ok(SocketAddrV4::new(ip, u16::from_be(found.sin_port)).into())
}

/// # Safety
/// `to` and `len` are null, or `*len` bytes may be written at `to`.
unsafe fn put_address(from: SocketAddr, to: *mut libc::sockaddr, len: *mut libc::socklen_t) {
    let SocketAddr::V4(from) = from else { return };
    if to.is_null() || len.is_null() {
        return;
    }
    let found = libc::sockaddr_in {
        #[expect(clippy::cast_possible_truncation, reason = "2")]
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: from.port().to_be(),
        sin_addr: libc::in_addr {
            s_addr: u32::from(*from.ip()).to_be(),
        },
        sin_zero: [0; 8],
    };
    let whole = size_of::<libc::sockaddr_in>();
    // SAFETY: `*len` bytes are writable at `to`, and no more are written; `len`
    // itself is the caller's to be updated.
    unsafe {
        let count = whole.min(*len as usize);
        ptr::copy_nonoverlapping((&raw const found).cast::<u8>(), to.cast(), count);
        *len = libc::socklen_t::try_from(whole).unwrap_or(0);
    }
}

/// # Safety
/// `from` is null or points to `len` readable bytes.
unsafe fn bytes(from: *const c_void, len: usize) -> Answer<Vec<u8>> {
    match (from.is_null(), len) {
        (_, 0) => Ok(Vec::new()),
        (true, _) => Err(Errno(libc::EFAULT)),
        // SAFETY: readable, as the caller promises; copied at once.
        (false, _) => Ok(unsafe { slice::from_raw_parts(from.cast(), len) }.to_vec()),
    }
}

/// The pieces of a vector of buffers.
///
/// # Safety
/// `vector` is null or points to `count` buffers.
unsafe fn pieces<'a>(vector: *const libc::iovec, count: usize) -> Answer<&'a [libc::iovec]> {
    match (vector.is_null(), count) {
        (_, 0) => Ok(&[]),
        (true, _) => Err(Errno(libc::EFAULT)),
        // SAFETY: `count` entries, alive for the length of the call that they
        // were passed to, in which the slice is used up.
        (false, _) => Ok(unsafe { slice::from_raw_parts(vector, count) }),
    }
}

/// # Safety
/// `data` as for [`host`]; each piece is writable.
unsafe fn read_pieces(
    data: Data,
    fd: c_int,
    pieces: &[libc::iovec],
    flags: c_int,
) -> Answer<isize> {
    let room = pieces.iter().map(|piece| piece.iov_len).sum();
    let call = Call::Read {
        fd,
        out: vec![0; room],
        done: 0,
        flags,
    };
    // SAFETY: as the caller promises.
    let (call, answer) = unsafe { wait(data, call) };
    let count = usize::try_from(answer?).unwrap_or(0);
    if let Call::Read { out, .. } = &call {
        let mut rest = out.get(..count).unwrap_or_default();
        for piece in pieces {
            let (now, later) = rest.split_at(piece.iov_len.min(rest.len()));
            if piece.iov_base.is_null() && !now.is_empty() {
                return Err(Errno(libc::EFAULT));
            }
            if !now.is_empty() {
                // SAFETY: `iov_len` writable bytes, of which no more are
                // written; `now` is memory of our own.
                unsafe { ptr::copy_nonoverlapping(now.as_ptr(), piece.iov_base.cast(), now.len()) };
            }
            rest = later;
        }
    }
    Ok(isize::try_from(count).unwrap_or(0))
}

/// # Safety
/// `data` as for [`host`]; each piece is readable.
unsafe fn write_pieces(
    data: Data,
    fd: c_int,
    pieces: &[libc::iovec],
    flags: c_int,
) -> Answer<isize> {
    let mut all = Vec::new();
    for piece in pieces {
        // SAFETY: readable, as the caller promises.
        all.extend(unsafe { bytes(piece.iov_base, piece.iov_len) }?);
    }
    let call = Call::Write {
        fd,
        data: all,
        done: 0,
        flags,
    };
    // SAFETY: as the caller promises.
    unsafe { wait(data, call) }.1
}

fn piece(base: *const c_void, len: usize) -> libc::iovec {
    libc::iovec {
        iov_base: base.cast_mut(),
        iov_len: len,
    }
}

// What follows is called by packetdrill only. Each function is unsafe for the
// same reason and under the same promise: `data` is the table's `userdata`, and
// each pointer is what the system call of the same name takes.

unsafe extern "C" fn free(data: Data) {
    // SAFETY: from `Box::into_raw`; the caller calls nothing of it any more.
    drop(unsafe { Box::from_raw(data.cast::<Host>()) });
}

unsafe extern "C" fn socket(data: Data, domain: c_int, kind: c_int, protocol: c_int) -> c_int {
    // SAFETY: packetdrill's promise, above.
    let host = unsafe { host(data) };
    give(reserve().and_then(|fd| {
        let made = host.run(|engine| engine.socket(fd, domain, kind, protocol));
        made.map(|()| fd).inspect_err(|_| release(fd))
    }))
}

unsafe extern "C" fn bind(
    data: Data,
    fd: c_int,
    at: *const libc::sockaddr,
    len: libc::socklen_t,
) -> c_int {
    // SAFETY: packetdrill's promise, above.
    let (host, at) = unsafe { (host(data), address(at, len)) };
    give(
        at.and_then(|at| host.run(|engine| engine.bind(fd, at)))
            .map(|()| 0),
    )
}

unsafe extern "C" fn listen(data: Data, fd: c_int, backlog: c_int) -> c_int {
    // SAFETY: packetdrill's promise, above.
    let host = unsafe { host(data) };
    give(host.run(|engine| engine.listen(fd, backlog)).map(|()| 0))
}

unsafe extern "C" fn accept(
    data: Data,
    fd: c_int,
    to: *mut libc::sockaddr,
    len: *mut libc::socklen_t,
) -> c_int {
    let new = match reserve() {
        Ok(new) => new,
        Err(error) => return give(Err(error)),
    };
    let call = Call::Accept {
        fd,
        new,
        peer: None,
    };
    // SAFETY: packetdrill's promise, above.
    let (call, answer) = unsafe { wait(data, call) };
    if let Call::Accept {
        peer: Some(peer), ..
    } = call
    {
        // SAFETY: packetdrill's promise, above.
        unsafe { put_address(peer, to, len) };
    }
    give(answer.map(|_| new).inspect_err(|_| release(new)))
}

unsafe extern "C" fn connect(
    data: Data,
    fd: c_int,
    to: *const libc::sockaddr,
    len: libc::socklen_t,
) -> c_int {
    // SAFETY: packetdrill's promise, above.
    let to = match unsafe { address(to, len) } {
        Ok(to) => to,
        Err(error) => return give(Err(error)),
    };
    let call = Call::Connect {
        fd,
        to,
        begun: false,
    };
    // SAFETY: packetdrill's promise, above.
    give(unsafe { wait(data, call) }.1.map(|_| 0))
}

unsafe extern "C" fn read(data: Data, fd: c_int, out: *mut c_void, len: usize) -> isize {
    // SAFETY: packetdrill's promise, above.
    unsafe { recv(data, fd, out, len, 0) }
}

unsafe extern "C" fn readv(
    data: Data,
    fd: c_int,
    vector: *const libc::iovec,
    count: c_int,
) -> isize {
    let count = usize::try_from(count).unwrap_or(0);
    // SAFETY: packetdrill's promise, above.
    give(unsafe { pieces(vector, count).and_then(|all| read_pieces(data, fd, all, 0)) })
}

unsafe extern "C" fn recv(
    data: Data,
    fd: c_int,
    out: *mut c_void,
    len: usize,
    flags: c_int,
) -> isize {
    // SAFETY: packetdrill's promise, above.
    give(unsafe { read_pieces(data, fd, &[piece(out, len)], flags) })
}

unsafe extern "C" fn recvfrom(
    data: Data,
    fd: c_int,
    out: *mut c_void,
    len: usize,
    flags: c_int,
    _from: *mut libc::sockaddr,
    from_len: *mut libc::socklen_t,
) -> isize {
    if !from_len.is_null() {
        // SAFETY: packetdrill's promise, above. TCP names no sender.
        unsafe { *from_len = 0 };
    }
    // SAFETY: packetdrill's promise, above.
    unsafe { recv(data, fd, out, len, flags) }
}

unsafe extern "C" fn recvmsg(
    data: Data,
    fd: c_int,
    message: *mut libc::msghdr,
    flags: c_int,
) -> isize {
    if message.is_null() {
        return give(Err(Errno(libc::EFAULT)));
    }
    // SAFETY: packetdrill's promise, above.
    give(unsafe {
        (*message).msg_controllen = 0;
        (*message).msg_flags = 0;
        pieces((*message).msg_iov, (*message).msg_iovlen)
            .and_then(|all| read_pieces(data, fd, all, flags))
    })
}

unsafe extern "C" fn write(data: Data, fd: c_int, from: *const c_void, len: usize) -> isize {
    // SAFETY: packetdrill's promise, above.
    unsafe { send(data, fd, from, len, 0) }
}

unsafe extern "C" fn writev(
    data: Data,
    fd: c_int,
    vector: *const libc::iovec,
    count: c_int,
) -> isize {
    let count = usize::try_from(count).unwrap_or(0);
    // SAFETY: packetdrill's promise, above.
    give(unsafe { pieces(vector, count).and_then(|all| write_pieces(data, fd, all, 0)) })
}

unsafe extern "C" fn send(
    data: Data,
    fd: c_int,
    from: *const c_void,
    len: usize,
    flags: c_int,
) -> isize {
    // SAFETY: packetdrill's promise, above.
    give(unsafe { write_pieces(data, fd, &[piece(from, len)], flags) })
}

unsafe extern "C" fn sendto(
    data: Data,
    fd: c_int,
    from: *const c_void,
    len: usize,
    flags: c_int,
    _to: *const libc::sockaddr,
    _to_len: libc::socklen_t,
) -> isize {
    if flags & libc::MSG_FASTOPEN != 0 {
        return give(Err(Errno(libc::EOPNOTSUPP)));
    }
    // SAFETY: packetdrill's promise, above.
    unsafe { send(data, fd, from, len, flags) }
}

unsafe extern "C" fn sendmsg(
    data: Data,
    fd: c_int,
    message: *const libc::msghdr,
    flags: c_int,
) -> isize {
    if message.is_null() {
        return give(Err(Errno(libc::EFAULT)));
    }
    // SAFETY: packetdrill's promise, above.
    give(unsafe {
        pieces((*message).msg_iov, (*message).msg_iovlen)
            .and_then(|all| write_pieces(data, fd, all, flags))
    })
}

unsafe extern "C" fn fcntl(data: Data, fd: c_int, command: c_int, argument: c_long) -> c_int {
    // SAFETY: packetdrill's promise, above.
    let host = unsafe { host(data) };
    give(host.run(|engine| engine.fcntl(fd, command, argument)))
}

unsafe extern "C" fn ioctl(data: Data, fd: c_int, request: c_ulong, out: *mut c_int) -> c_int {
    // SAFETY: packetdrill's promise, above.
    let host = unsafe { host(data) };
    let answer = host.run(|engine| engine.ioctl(fd, request));
    give(answer.map(|value| {
        if !out.is_null() {
            // SAFETY: the requests that are answered take a pointer to an int.
            unsafe { *out = value };
        }
        0
    }))
}

unsafe extern "C" fn close(data: Data, fd: c_int) -> c_int {
    // SAFETY: packetdrill's promise, above.
    let host = unsafe { host(data) };
    let closed = host.run(|engine| engine.close(fd));
    give(closed.map(|()| {
        release(fd);
        0
    }))
}

unsafe extern "C" fn shutdown(data: Data, fd: c_int, how: c_int) -> c_int {
    // SAFETY: packetdrill's promise, above.
    let host = unsafe { host(data) };
    give(host.run(|engine| engine.shutdown(fd, how)).map(|()| 0))
}

unsafe extern "C" fn getsockopt(
    data: Data,
    fd: c_int,
    level: c_int,
    name: c_int,
    value: *mut c_void,
    len: *mut libc::socklen_t,
) -> c_int {
    if value.is_null() || len.is_null() {
        return give(Err(Errno(libc::EFAULT)));
    }
    // SAFETY: packetdrill's promise, above.
    let (host, room) = unsafe { (host(data), *len as usize) };
    let answer = host.run(|engine| engine.option(fd, level, name, room));
    give(answer.map(|found| {
        // SAFETY: `*len` bytes are writable at `value`, and `option` gave no
        // more than those.
        unsafe {
            ptr::copy_nonoverlapping(found.as_ptr(), value.cast(), found.len());
            *len = libc::socklen_t::try_from(found.len()).unwrap_or(0);
        }
        0
    }))
}

unsafe extern "C" fn setsockopt(
    data: Data,
    fd: c_int,
    level: c_int,
    name: c_int,
    value: *const c_void,
    len: libc::socklen_t,
) -> c_int {
    // SAFETY: packetdrill's promise, above.
    let (host, value) = unsafe { (host(data), bytes(value, len as usize)) };
    let set = value.and_then(|value| host.run(|engine| engine.set_option(fd, level, name, &value)));
    give(set.map(|()| 0))
}

unsafe extern "C" fn poll(
    data: Data,
    list: *mut libc::pollfd,
    count: libc::nfds_t,
    millis: c_int,
) -> c_int {
    let count = usize::try_from(count).unwrap_or(0);
    let entries = if list.is_null() || count == 0 {
        &mut []
    } else {
        // SAFETY: `count` entries of packetdrill's, for the length of the call.
        unsafe { slice::from_raw_parts_mut(list, count) }
    };
    // SAFETY: packetdrill's promise, above.
    let now = unsafe { host(data) }.run(|engine| engine.now());
    let call = Call::Poll {
        items: entries
            .iter()
            .map(|entry| PollItem {
                fd: entry.fd,
                events: entry.events,
                revents: 0,
            })
            .collect(),
        until: u64::try_from(millis)
            .ok()
            .map(|millis| now.plus_nanos(millis * 1_000_000)),
    };
    // SAFETY: packetdrill's promise, above.
    let (call, answer) = unsafe { wait(data, call) };
    if let Call::Poll { items, .. } = &call {
        for (entry, item) in entries.iter_mut().zip(items) {
            entry.revents = item.revents;
        }
    }
    give(answer.map(|count| c_int::try_from(count).unwrap_or(0)))
}

unsafe extern "C" fn netdev_send(data: Data, packet: *const c_void, len: usize) -> c_int {
    // SAFETY: packetdrill's promise, above.
    let (host, packet) = unsafe { (host(data), bytes(packet, len)) };
    match packet {
        Ok(packet) if host.run(|engine| engine.inject(&packet)) => 0,
        _ => -1,
    }
}

unsafe extern "C" fn netdev_receive(
    data: Data,
    out: *mut c_void,
    len: *mut usize,
    micros: *mut c_longlong,
) -> c_int {
    if out.is_null() || len.is_null() || micros.is_null() {
        return -1;
    }
    // SAFETY: packetdrill's promise, above.
    let sent = unsafe { host(data) }.receive();
    // SAFETY: `*len` bytes are writable at `out`, and no more are written. A
    // length of 0 tells that nothing came.
    unsafe {
        let packet = sent.as_ref().map_or(&[][..], |sent| &sent.bytes);
        let count = packet.len().min(*len);
        ptr::copy_nonoverlapping(packet.as_ptr(), out.cast(), count);
        *len = count;
        if let Some(sent) = &sent {
            *micros = c_longlong::try_from(sent.at.as_micros()).unwrap_or(0);
        }
    }
    0
}

unsafe extern "C" fn usleep(data: Data, micros: c_uint) -> c_int {
    // SAFETY: packetdrill's promise, above.
    unsafe { host(data) }.sleep(u64::from(micros));
    0
}

unsafe extern "C" fn gettimeofday(data: Data, to: *mut libc::timeval, _zone: *mut c_void) -> c_int {
    // SAFETY: packetdrill's promise, above.
    let micros = unsafe { host(data) }.micros();
    if to.is_null() {
        return give(Err(Errno(libc::EFAULT)));
    }
    let part = |value: u64| libc::time_t::try_from(value).unwrap_or(0);
    let time = libc::timeval {
        tv_sec: part(micros / 1_000_000),
        tv_usec: part(micros % 1_000_000),
    };
    // SAFETY: packetdrill's promise, above.
    unsafe { to.write(time) };
    0
}

// Not offered.

unsafe extern "C" fn epoll_create(_: Data, _: c_int) -> c_int {
    give(Err(Errno(libc::ENOSYS)))
}

unsafe extern "C" fn epoll_ctl(
    _: Data,
    _: c_int,
    _: c_int,
    _: c_int,
    _: *mut libc::epoll_event,
) -> c_int {
    give(Err(Errno(libc::ENOSYS)))
}

unsafe extern "C" fn epoll_wait(
    _: Data,
    _: c_int,
    _: *mut libc::epoll_event,
    _: c_int,
    _: c_int,
) -> c_int {
    give(Err(Errno(libc::ENOSYS)))
}

unsafe extern "C" fn pipe(_: Data, _: *mut c_int) -> c_int {
    give(Err(Errno(libc::ENOSYS)))
}

unsafe extern "C" fn splice(
    _: Data,
    _: c_int,
    _: *mut i64,
    _: c_int,
    _: *mut i64,
    _: usize,
    _: c_uint,
) -> isize {
    give(Err(Errno(libc::ENOSYS)))
}

#[cfg(test)]
mod tests {
    use std::mem::MaybeUninit;
    use std::thread;

    use super::*;

    fn load(flags: &CStr) -> Interface {
        let mut interface = MaybeUninit::uninit();
        // SAFETY: a C string, and room for the table, which is then filled in.
        unsafe {
            packetdrill_interface_init(flags.as_ptr(), interface.as_mut_ptr());
            interface.assume_init()
        }
    }

    fn loopback(port: u16, ip: [u8; 4]) -> libc::sockaddr_in {
        libc::sockaddr_in {
            sin_family: libc::sa_family_t::try_from(libc::AF_INET).unwrap(),
            sin_port: port.to_be(),
            sin_addr: libc::in_addr {
                s_addr: u32::from_ne_bytes(ip),
            },
            sin_zero: [0; 8],
        }
    }

    const ADDRESS: libc::socklen_t = 16;

    #[test]
    fn a_blocking_connect_times_out_in_virtual_time() {
        let i = load(c"clock=virtual,timestamps=off");
        let to = loopback(8080, [192, 0, 2, 1]);
        let data = i.userdata.expose_provenance();
        // SAFETY: the table's functions as C calls them, until `free`; the
        // thread has ended by then.
        unsafe {
            let fd = (i.socket)(i.userdata, libc::AF_INET, libc::SOCK_STREAM, 0);
            assert!(fd >= 0);
            let connect = i.connect;
            let call = thread::spawn(move || {
                let (data, to) = (ptr::with_exposed_provenance_mut(data), to);
                let result = connect(data, fd, (&raw const to).cast(), ADDRESS);
                (result, *libc::__errno_location(), micros(data))
            });
            // The SYN, and again after 1, 3, 7, ... seconds.
            let (mut packet, mut at) = ([0_u8; 1500], 0);
            let mut count = 0;
            while !call.is_finished() {
                let mut len = packet.len();
                let out = packet.as_mut_ptr().cast();
                assert_eq!((i.netdev_receive)(i.userdata, out, &mut len, &mut at), 0);
                count += u32::from(len == 20 + 32);
            }
            let (result, errno, ended) = call.join().unwrap();
            assert_eq!((result, errno), (-1, libc::ETIMEDOUT));
            assert!(count >= 6, "{count} SYNs");
            assert!(ended > at, "it ended after the last SYN");
            assert_eq!((i.close)(i.userdata, fd), 0);
            (i.free)(i.userdata);
        }
    }

    fn micros(data: Data) -> i64 {
        let mut time = MaybeUninit::<libc::timeval>::uninit();
        // SAFETY: a live `Host`, and room for the time, which is then written.
        let time = unsafe {
            assert_eq!(gettimeofday(data, time.as_mut_ptr(), ptr::null_mut()), 0);
            time.assume_init()
        };
        time.tv_sec * 1_000_000 + time.tv_usec
    }

    #[test]
    fn the_clock_moves_where_packetdrill_waits() {
        let i = load(c"");
        let start = micros(i.userdata);
        assert_eq!(micros(i.userdata), start, "a look costs nothing");
        // SAFETY: the table's functions, until `free`.
        unsafe { (i.usleep)(i.userdata, 250) };
        assert_eq!(micros(i.userdata), start + 250);
        let mut last = start;
        while last < start + 400 {
            last = micros(i.userdata);
        }
        // SAFETY: as above.
        unsafe { (i.free)(i.userdata) };
    }

    #[test]
    fn calls_that_make_no_sense_have_an_error() {
        let i = load(c"");
        let errno = |result: c_int| {
            assert_eq!(result, -1);
            // SAFETY: this thread's errno.
            unsafe { *libc::__errno_location() }
        };
        let nowhere: *mut c_void = ptr::null_mut();
        // SAFETY: the table's functions, with pointers that they refuse.
        unsafe {
            let socket = |domain, kind| (i.socket)(i.userdata, domain, kind, 0);
            assert_eq!(errno(socket(libc::AF_UNIX, 1)), libc::EAFNOSUPPORT);
            let datagram = socket(libc::AF_INET, libc::SOCK_DGRAM);
            assert_eq!(errno(datagram), libc::EPROTONOSUPPORT);
            assert_eq!(errno((i.listen)(i.userdata, -5, 1)), libc::EBADF);
            let fd = socket(libc::AF_INET, libc::SOCK_STREAM);
            let bind = (i.bind)(i.userdata, fd, nowhere.cast(), 0);
            assert_eq!(errno(bind), libc::EINVAL);
            let read = (i.read)(i.userdata, fd, nowhere, 10);
            assert_eq!((read, *libc::__errno_location()), (-1, libc::ENOTCONN));
            let write = (i.write)(i.userdata, fd, nowhere, 10);
            assert_eq!((write, *libc::__errno_location()), (-1, libc::EFAULT));
            assert_eq!((i.netdev_send)(i.userdata, nowhere, 10), -1);
            assert_eq!((i.close)(i.userdata, fd), 0);
            assert_eq!(errno((i.close)(i.userdata, fd)), libc::EBADF);
            (i.free)(i.userdata);
        }
    }
}
