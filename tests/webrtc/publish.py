"""Publishes a made-up picture and a tone by WHIP with aiortc.

publish.py URL KEY SECONDS [--silent | --vp8]

With --silent it connects and sends neither; with --vp8 it offers no other codec.
"""

import asyncio
import sys
import urllib.parse
import urllib.request

import av
from aiortc import RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, VideoStreamTrack


class Nothing(VideoStreamTrack):
    """Pictures that never come."""

    async def recv(self):
        await asyncio.Event().wait()


class Pictures(VideoStreamTrack):
    """A bar that wanders over 320x180."""

    async def recv(self):
        pts, time_base = await self.next_timestamp()
        picture = av.VideoFrame(320, 180, "yuv420p")
        for index, plane in enumerate(picture.planes):
            row = bytearray([128 if index else 40]) * plane.line_size
            if index == 0:
                at = (pts // 3000 * 4) % 300
                row[at : at + 16] = b"\xf0" * 16
            plane.update(bytes(row) * plane.height)
        picture.pts, picture.time_base = pts, time_base
        return picture


async def main() -> None:
    url, key, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
    peer = RTCPeerConnection()
    silent = "--silent" in sys.argv[4:]
    if not silent:
        peer.addTrack(AudioStreamTrack())
    peer.addTrack(Nothing() if silent else Pictures())
    capabilities = RTCRtpSender.getCapabilities("video").codecs
    codec = "video/VP8" if "--vp8" in sys.argv[4:] else "video/H264"
    offered = [one for one in capabilities if one.mimeType in (codec, "video/rtx")]
    for transceiver in peer.getTransceivers():
        transceiver.direction = "sendonly"
        if transceiver.kind == "video":
            transceiver.setCodecPreferences(offered)
    await peer.setLocalDescription(await peer.createOffer())
    request = urllib.request.Request(
        url,
        data=peer.localDescription.sdp.encode(),
        headers={"Content-Type": "application/sdp", "Authorization": f"Bearer {key}"},
        method="POST",
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        answer = response.read().decode()
        resource = response.headers["Location"]
    await peer.setRemoteDescription(RTCSessionDescription(sdp=answer, type="answer"))
    await asyncio.sleep(seconds)
    assert peer.connectionState == "connected", peer.connectionState
    end = urllib.request.Request(urllib.parse.urljoin(url, resource), method="DELETE")
    with urllib.request.urlopen(end, timeout=10) as response:
        assert response.status == 200
    await peer.close()


asyncio.run(main())
