"""A camera that speaks RTSP: GStreamer's own server, in a process of its own.

    /usr/bin/python3 rtsp_camera.py PORT [USER PASSWORD]

Prints its port, and serves a test picture of 320 x 240 pixels at 25 Hz, as H.264 over TCP alone at
/stream and as JPEG at /jpeg. It lives until its standard input ends.
"""

import os
import sys
import threading

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

PICTURE = (
    "( videotestsrc is-live=true pattern=ball ! "
    "video/x-raw,format=I420,width=320,height=240,framerate=25/1 ! {} )"
)
H264 = (
    "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=10 ! rtph264pay name=pay0 pt=96 "
    "config-interval=1"
)
JPEG = "jpegenc ! rtpjpegpay name=pay0 pt=26"


def main():
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(sys.argv[1])
    roles = None
    if len(sys.argv) > 3:
        auth = GstRtspServer.RTSPAuth()
        token = GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", "user")
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(*sys.argv[2:4]), token)
        server.set_auth(auth)
        roles = GstRtspServer.RTSPPermissions()
        for right in ("media.factory.access", "media.factory.construct"):
            roles.add_permission_for_role("user", right, True)
    for path, encoder in (("/stream", H264), ("/jpeg", JPEG)):
        factory = GstRtspServer.RTSPMediaFactory()
        factory.set_launch(PICTURE.format(encoder))
        factory.set_shared(True)
        factory.set_protocols(GstRtsp.RTSPLowerTrans.TCP)
        if roles is not None:
            factory.set_permissions(roles)
        server.get_mount_points().add_factory(path, factory)
    if server.attach(None) == 0:
        sys.exit("the port is taken")
    sys.stdout.write(f"{server.get_bound_port()}\n")
    sys.stdout.flush()
    threading.Thread(target=end_with_input, daemon=True).start()
    GLib.MainLoop().run()


def end_with_input():
    sys.stdin.read()
    os._exit(0)


main()
