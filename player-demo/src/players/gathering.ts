// What an offer by WebRTC waits for before it is sent.

/** How long the browser may gather addresses: without a server to ask it takes a moment. */
const GATHER_MS = 500;

/** Waits for the addresses that the browser has by itself. */
export function gathered(peer: RTCPeerConnection): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, GATHER_MS);
    const look = () => {
      if (peer.iceGatheringState === "complete") {
        clearTimeout(timer);
        resolve();
      }
    };
    peer.addEventListener("icegatheringstatechange", look);
    look();
  });
}
