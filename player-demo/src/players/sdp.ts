// What this page has browsers do that they don't do by themselves, said in session descriptions.

/** An offer that takes sound in stereo: browsers decode one channel unless it says so (RFC 7587 §6.1). */
export function inStereo(offer: string): string {
  return offer.replace("useinbandfec=1", "useinbandfec=1;stereo=1");
}
