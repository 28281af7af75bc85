//! The checks: their names, why each matters, and what to change where it fails.
//!
//! The lines for nginx and Varnish are those of `infra/cdn`, where they stand in their place.

use serde::Serialize;

/// What is checked, in the order in which it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// The origin's answer id comes through: most other checks count by it.
    AnswerId,
    /// What may be kept is kept.
    Caching,
    /// Identical requests become one.
    Collapsing,
    /// The parameters of low-latency HLS are part of the key and reach the origin.
    Key,
    /// Everything else in the query is not.
    Junk,
    /// Playlists are kept for as long as they say, and no longer.
    Fresh,
    /// Errors are kept for as long as they say, and no longer.
    Errors,
    /// An answer out of the cache tells how old it is.
    Age,
    /// A body that is being written is sent on as it grows.
    Growing,
    /// The edge waits for as long as the origin may.
    Hold,
    /// Every answer may be read by scripts of other sites.
    Cors,
    /// Texts are compressed, for those who can read that.
    Encoding,
    /// Single ranges are served.
    Range,
    /// Cache-Control reaches the viewer as the origin wrote it.
    Rules,
    /// Browsers can use HTTP/2.
    Http2,
}

/// Why a check matters and what to change.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Advice {
    /// What happens to viewers or to the origin otherwise.
    pub why: &'static str,
    /// For nginx; empty where there is nothing to change.
    pub nginx: &'static str,
    /// For Varnish.
    pub varnish: &'static str,
    /// For CloudFront.
    pub cloudfront: &'static str,
}

impl Advice {
    /// Who, and what to change there.
    pub(super) fn changes(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        [("nginx", self.nginx), ("Varnish", self.varnish), ("CloudFront", self.cloudfront)]
            .into_iter()
            .filter(|(_, line)| !line.is_empty())
    }
}

impl Check {
    /// Its name, as in the report.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AnswerId => "answer-id",
            Self::Caching => "caching",
            Self::Collapsing => "collapsing",
            Self::Key => "key",
            Self::Junk => "junk",
            Self::Fresh => "fresh",
            Self::Errors => "errors",
            Self::Age => "age",
            Self::Growing => "growing",
            Self::Hold => "hold",
            Self::Cors => "cors",
            Self::Encoding => "encoding",
            Self::Range => "range",
            Self::Rules => "rules",
            Self::Http2 => "http2",
        }
    }

    /// Why it matters, and what to change.
    pub const fn advice(self) -> Advice {
        match self {
            Self::AnswerId => Advice {
                why: "the header Headwater-Answer tells which answers came of one request to the \
                      origin; without it nobody can see from outside what the edge keeps",
                nginx: "no `proxy_hide_header Headwater-Answer`",
                varnish: "no `unset resp.http.Headwater-Answer`",
                cloudfront: "no response headers policy that removes Headwater-Answer",
            },
            Self::Caching => Advice {
                why: "every viewer's request for media reaches the origin",
                nginx: "proxy_cache headwater; and no proxy_ignore_headers Cache-Control",
                varnish: "return (hash) in vcl_recv; unset req.http.Cookie",
                cloudfront: "a cache policy with a maximum TTL above 0, not CachingDisabled",
            },
            Self::Collapsing => Advice {
                why: "viewers at the live edge all ask for the same thing at the same moment; each \
                      of them costs the origin a request, or waits for the edge's next look",
                nginx: "proxy_cache_lock on; (the others look again every 500 ms: Varnish has no \
                        such pause)",
                varnish: "no `req.hash_ignore_busy`; no return (pass) for playlists",
                cloudfront: "Origin Shield on, and a minimum TTL of 0 with Cache-Control from the \
                             origin",
            },
            Self::Key => Advice {
                why: "a player that waits for a part gets a playlist without it, at once, and asks \
                      again and again",
                nginx: "proxy_cache_key \"$headwater_path$headwater_query…\" with the maps of \
                        infra/cdn/nginx/headwater.conf, and the same in proxy_pass",
                varnish: "call headwater_key; as in infra/cdn/varnish/headwater.vcl",
                cloudfront: "cache policy, query strings: include _HLS_msn, _HLS_part, _HLS_skip",
            },
            Self::Junk => Advice {
                why: "players and links add parameters of their own (CMCD, campaign tags); each \
                      value is one more copy and one more request to the origin",
                nginx: "proxy_cache_key without $args or $request_uri, as in \
                        infra/cdn/nginx/headwater.conf",
                varnish: "call headwater_key; as in infra/cdn/varnish/headwater.vcl",
                cloudfront: "cache policy, query strings: only _HLS_msn, _HLS_part, _HLS_skip",
            },
            Self::Fresh => Advice {
                why: "a playlist that is kept too long stops players: they play to the end of what \
                      it lists and stall",
                nginx: "no proxy_cache_valid for 200, no proxy_ignore_headers Cache-Control, \
                        proxy_cache_use_stale off",
                varnish: "set beresp.grace = 0s for media playlists; no fixed beresp.ttl",
                cloudfront: "minimum and default TTL 0",
            },
            Self::Errors => Advice {
                why: "what is not there yet is there a moment later; players that are told the old \
                      404 give up or skip",
                nginx: "no proxy_cache_valid for 404 or any, no proxy_ignore_headers Cache-Control",
                varnish: "no fixed beresp.ttl for errors; what is no-store is uncacheable for 1 s",
                cloudfront: "custom error responses: error caching minimum TTL 0 for 400, 404, 500, \
                             502, 503, 504 (the default is 10 s)",
            },
            Self::Age => Advice {
                why: "players that join reckon with Age where the live edge is; without it they \
                      begin further back than they need to",
                nginx: "has no Age; proxy_pass_header Date; shows the origin's time instead",
                varnish: "no `unset resp.http.Age`",
                cloudfront: "sends Age by itself; no response headers policy that removes it",
            },
            Self::Growing => Advice {
                why: "low-latency DASH reads a segment while it is written; an edge that waits for \
                      the whole of it adds a segment to the latency, and players stall",
                nginx: "proxy_http_version 1.1; and a proxy_cache_lock_timeout of 100ms for media; \
                        viewers of one growing segment are not shared (Varnish shares them)",
                varnish: "set beresp.do_stream = true;",
                cloudfront: "streams chunked answers by itself; no Lambda@Edge that reads bodies",
            },
            Self::Hold => Advice {
                why: "the origin holds a playlist request for up to 3 target durations; an edge \
                      that gives up before that makes players wait and then fails them",
                nginx: "proxy_read_timeout 35s;",
                varnish: ".first_byte_timeout = 35s; .between_bytes_timeout = 35s; in the backend",
                cloudfront: "origin response timeout 30 s or more",
            },
            Self::Cors => Advice {
                why: "a browser shows a script of another site neither media nor the status of an \
                      error without Access-Control-Allow-Origin, exactly once, on every answer",
                nginx: "no add_header Access-Control-… beside the origin's own; `always` on those \
                        of your own error pages",
                varnish: "leave resp.http.Access-Control-* alone; set them in vcl_synth and \
                          vcl_backend_error",
                cloudfront: "a response headers policy with CORS and origin override off, or none",
            },
            Self::Encoding => Advice {
                why: "playlists shrink tenfold; with waiting players they are asked for several \
                      times a second. Who can't read gzip must not be sent any",
                nginx: "proxy_set_header Accept-Encoding $headwater_encoding; and the same in the \
                        key",
                varnish: "http_gzip_support on (the default)",
                cloudfront: "cache policy with gzip support on",
            },
            Self::Range => Advice {
                why: "some players read media in ranges",
                nginx: "no proxy_set_header Range \"\" with proxy_cache off; max_ranges left alone",
                varnish: "http_range_support on (the default)",
                cloudfront: "serves ranges by itself",
            },
            Self::Rules => Advice {
                why: "browsers and caches behind this edge keep answers for as long as \
                      Cache-Control says: a playlist for hours, if the edge says so",
                nginx: "no expires and no add_header Cache-Control",
                varnish: "leave resp.http.Cache-Control alone",
                cloudfront: "no response headers policy with Cache-Control",
            },
            Self::Http2 => Advice {
                why: "browsers open six connections to a host on HTTP/1.1, and two players with \
                      waiting requests for sound and picture use most of them up",
                nginx: "listen 443 ssl http2;",
                varnish: "-p feature=+http2, and hitch with alpn-protos = \"h2,http/1.1\"",
                cloudfront: "supported HTTP versions: HTTP/2",
            },
        }
    }
}
