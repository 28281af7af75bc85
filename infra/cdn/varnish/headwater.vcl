# Varnish as an edge in front of Headwater. Belongs in /etc/varnish/headwater.vcl; for Varnish 7.1
# and later. How to start it, and what the numbers are: ../README.md.
#
# It does what the origin's Cache-Control says and nothing else. Identical requests become one, also
# while the answer is being waited for or is still growing: a body is streamed to everybody who asks
# for it as it comes in.
vcl 4.1;

# ---- Yours: the origin -----------------------------------------------------------------------

backend headwater {
    .host = "127.0.0.1";
    .port = "8080";
    .connect_timeout = 5s;
    # The origin holds a request for at most 3 target durations (27 s at the longest segments).
    .first_byte_timeout = 35s;
    # A segment grows in steps of a part, and a source that is lost delays those.
    .between_bytes_timeout = 35s;
}

sub vcl_recv {
    set req.backend_hint = headwater;

    # Beacons, WHIP and WHEP, preflights; and the clock, which nobody may keep or queue for.
    if (req.method != "GET" && req.method != "HEAD") {
        return (pass);
    }
    if (req.url ~ "^/(live/[^/?]+/)?time(\?|$)") {
        return (pass);
    }

    # There are no viewers to tell apart: no cookie and no login is anything to the origin.
    unset req.http.Cookie;
    unset req.http.Authorization;

    call headwater_key;
    return (hash);
}

# The cache key is the path, then _HLS_msn, _HLS_part, _HLS_skip, in this order. Everything else in
# the query (CMCD, campaign tags, whatever viewers add) is neither part of the key nor sent on. A
# parameter that is there twice is left as it is: the origin refuses it.
sub headwater_key {
    if (req.url ~ "[?&](_HLS_(msn|part|skip)=).*&\1") {
        return;
    }
    set req.http.X-Headwater-Query = "";
    if (req.url ~ "[?&]_HLS_msn=") {
        set req.http.X-Headwater-Query = regsub(req.url, "^.*[?&](_HLS_msn=[^&]*).*$", "&\1");
    }
    if (req.url ~ "[?&]_HLS_part=") {
        set req.http.X-Headwater-Query = req.http.X-Headwater-Query
            + regsub(req.url, "^.*[?&](_HLS_part=[^&]*).*$", "&\1");
    }
    if (req.url ~ "[?&]_HLS_skip=") {
        set req.http.X-Headwater-Query = req.http.X-Headwater-Query
            + regsub(req.url, "^.*[?&](_HLS_skip=[^&]*).*$", "&\1");
    }
    set req.url = regsub(req.url, "\?.*$", "") + regsub(req.http.X-Headwater-Query, "^&", "?");
    unset req.http.X-Headwater-Query;
}

# Without the host: two names for one edge share their copies.
sub vcl_hash {
    hash_data(req.url);
    return (lookup);
}

sub vcl_backend_response {
    # Bytes go on as they come; a body that ends too early is an error for everybody who reads it
    # and is not kept. (Both are what Varnish does anyway; low latency hangs on them.)
    set beresp.do_stream = true;

    # An old live playlist freezes players where an error would have made them try elsewhere. The
    # multivariant playlist says the same for hours: an old one is as good as a new one.
    if (beresp.status == 200 && bereq.url ~ "^/live/[^/]+/index\.m3u8$") {
        set beresp.grace = 5m;
    } else {
        set beresp.grace = 0s;
    }
    # For asking again with If-None-Match.
    set beresp.keep = 10s;

    if (bereq.uncacheable) {
        return (deliver);
    }
    if (!beresp.http.Cache-Control || beresp.http.Cache-Control ~ "(?i)no-store|no-cache|private"
        || beresp.ttl <= 0s) {
        # What is not there yet may come at any moment. Those who waited for this answer ask the
        # origin side by side now (one after the other, each would wait for the one before), and a
        # second later they are one again: Varnish's own two minutes were two minutes of crowds.
        set beresp.uncacheable = true;
        set beresp.ttl = 1s;
    }
    return (deliver);
}

sub vcl_deliver {
    if (obj.hits > 0) {
        set resp.http.X-Cache-Status = "HIT";
    } else {
        set resp.http.X-Cache-Status = "MISS";
    }
}

# The origin is away: players may read that, and nobody remembers it.
sub vcl_backend_error {
    set beresp.http.Access-Control-Allow-Origin = "*";
    set beresp.http.Cache-Control = "no-store";
    set beresp.http.Retry-After = "1";
    set beresp.http.Content-Type = "text/plain; charset=utf-8";
    set beresp.body = {"the origin does not answer
"};
    return (deliver);
}

sub vcl_synth {
    set resp.http.Access-Control-Allow-Origin = "*";
    set resp.http.Cache-Control = "no-store";
    set resp.http.Content-Type = "text/plain; charset=utf-8";
    set resp.body = resp.reason + {"
"};
    return (deliver);
}
