// Two pages, one build: `dist/` is embedded in the server binary and served from `/`.
import { defineConfig, type Plugin } from "vite";

// A running `headwater demo` to develop against.
const origin = process.env["HEADWATER"] ?? "http://127.0.0.1:8080";

// The server answers `/watch/{channel}` with watch.html; so does `npm run dev`.
const watchRoute: Plugin = {
  name: "watch-route",
  configureServer(server) {
    server.middlewares.use((request, _response, next) => {
      if (request.url?.startsWith("/watch/")) {
        request.url = "/watch.html";
      }
      next();
    });
  },
};

export default defineConfig({
  base: "/",
  plugins: [watchRoute],
  build: {
    target: "es2022",
    // Everything comes from a file of its own: the server's content security policy allows no
    // inline script and no data: script.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    // dash.js is one file of 1 MB, loaded only when somebody switches to DASH.
    chunkSizeWarningLimit: 1200,
    rollupOptions: { input: ["index.html", "watch.html"] },
  },
  server: {
    proxy: { "/live": origin, "/channels.json": origin, "/time": origin },
  },
});
