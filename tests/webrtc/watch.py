"""Watches a channel by WHEP with aiortc, and tells what came: one JSON line.

watch.py URL [--seconds N] [--viewers N] [--vanish]

Several viewers tell of themselves one line each. With --vanish it ends as a machine does that loses its power: nobody is told.
"""

import argparse
import asyncio
import json
import os
import time
import urllib.parse
import urllib.request

from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError


async def watch(options) -> None:
    peer = RTCPeerConnection()
    seen = {"pictures": 0, "sounds": 0, "sizes": [], "firstPictureMs": None}
    posted = time.monotonic()
    readers = []

    async def read(track) -> None:
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            if track.kind == "audio":
                seen["sounds"] += 1
                continue
            seen["pictures"] += 1
            if seen["firstPictureMs"] is None:
                seen["firstPictureMs"] = (time.monotonic() - posted) * 1000
            size = [frame.width, frame.height]
            if size not in seen["sizes"]:
                seen["sizes"].append(size)

    @peer.on("track")
    def on_track(track) -> None:
        readers.append(asyncio.ensure_future(read(track)))

    peer.addTransceiver("video", direction="recvonly")
    peer.addTransceiver("audio", direction="recvonly")
    await peer.setLocalDescription(await peer.createOffer())
    request = urllib.request.Request(
        options.url,
        data=peer.localDescription.sdp.encode(),
        headers={"Content-Type": "application/sdp"},
        method="POST",
    )
    posted = time.monotonic()
    with urllib.request.urlopen(request, timeout=10) as response:
        answer = response.read().decode()
        resource = response.headers["Location"]
    await peer.setRemoteDescription(RTCSessionDescription(sdp=answer, type="answer"))
    await asyncio.sleep(options.seconds)
    seen["state"] = peer.connectionState
    print(json.dumps(seen), flush=True)
    if options.vanish:
        os._exit(0)
    end = urllib.request.Request(urllib.parse.urljoin(options.url, resource), method="DELETE")
    with urllib.request.urlopen(end, timeout=10) as response:
        assert response.status == 200
    await peer.close()


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--viewers", type=int, default=1)
    parser.add_argument("--vanish", action="store_true")
    options = parser.parse_args()
    await asyncio.gather(*(watch(options) for _ in range(options.viewers)))


asyncio.run(main())
