"""Where the page is served: ``127.0.0.1:8080``, as the user writes it, and the sockets there."""

import errno
import ipaddress
import os
import re
import socket
from typing import List, NamedTuple, Optional
from urllib.parse import quote

from clipedge.jetson.errors import UsageError

DEFAULT_ADDRESS = "127.0.0.1:8080"
FORM = "Give HOST:PORT, such as 127.0.0.1:8080, 0.0.0.0:8080 or [::1]:8080."
LARGEST_PORT = 65535
# For documentation (RFC 5737): a route to it names this machine's own address; nothing is sent.
FAR_AWAY = ("192.0.2.1", 9)


class Address(NamedTuple):
    """Where to listen."""

    host: str  # 127.0.0.1, ::1, localhost; without brackets
    port: int  # 0: any that is free


def parse_address(text: str) -> Address:
    """Return what ``--web`` says.

    Raises:
        UsageError: it is not HOST:PORT.
    """
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s:/@\[\]]+)):([0-9]{1,5})", text)
    if match is None or int(match.group(3)) > LARGEST_PORT:
        raise UsageError(f"--web {text}: no address of a page. {FORM}")
    return Address(match.group(1) or match.group(2), int(match.group(3)))


def listen(address: Address) -> List[socket.socket]:
    """Open the sockets of ``address``; a name such as localhost may have two.

    Raises:
        UsageError: the port is taken or not allowed, or the host is not this machine.
    """
    from tornado.netutil import bind_sockets

    name = printable(address)
    try:
        sockets = bind_sockets(address.port, address.host)
    except socket.gaierror as error:
        reason = f"no such host ({error.strerror}). {FORM}"
    except UnicodeError:  # a part of a host's name is empty or too long
        reason = f"no such host. {FORM}"
    except OSError as error:
        reason = _reason(error, address)
    else:
        if sockets:
            return sockets
        reason = f"this machine cannot listen there. {FORM}"
    raise UsageError(f"--web {name}: {reason}")


def is_loopback(sockets: List[socket.socket]) -> bool:
    """Tell whether nobody but this machine reaches any of the sockets."""
    return all(ipaddress.ip_address(_host(one)).is_loopback for one in sockets)


def page_url(address: Address, sockets: List[socket.socket], token: Optional[str]) -> str:
    """Return what to open in a browser, with the token where there is one."""
    host, port = address.host, sockets[0].getsockname()[1]
    if host in ("0.0.0.0", "::"):  # every address of this machine: name one
        host = _outward_host()
    url = f"http://{printable(Address(host, port))}/"
    return url if token is None else "{}?token={}".format(url, quote(token, safe=""))


def printable(address: Address) -> str:
    """Return HOST:PORT, with the brackets of an IPv6 host."""
    return ("[{}]:{}" if ":" in address.host else "{}:{}").format(*address)


def _reason(error: OSError, address: Address) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {address.port} is in use, perhaps by another gesture-demo. Choose another one, "
            f"or any that is free: --web {printable(address._replace(port=0))}"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return (
            "this machine does not have this address. Take 127.0.0.1 for this machine alone, or "
            "0.0.0.0 for the whole network."
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"this user may not open port {address.port}. Choose one above 1023, such as 8080."
    return f"{os.strerror(error.errno) if error.errno else error}. {FORM}"


def _host(one: socket.socket) -> str:
    host: str = one.getsockname()[0]
    return host.split("%")[0]  # a link-local one names its interface


def _outward_host() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(FAR_AWAY)
            return _host(probe)
        except OSError:  # no network but this machine's own
            return "127.0.0.1"
