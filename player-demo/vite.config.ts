// Three pages, one build: `dist/` is embedded in the server binary and served from `/`.
import { readFileSync } from "node:fs";
import { defineConfig, type Plugin } from "vite";

// A running `headwater demo` to develop against.
const origin = process.env["HEADWATER"] ?? "http://127.0.0.1:8080";

// The server answers `/watch/{channel}` with watch.html and `/publish/{channel}` with publish.html; so does
// `npm run dev`.
const pageRoutes: Plugin = {
  name: "page-routes",
  configureServer(server) {
    server.middlewares.use((request, _response, next) => {
      for (const page of ["watch", "publish"]) {
        if (request.url?.startsWith(`/${page}/`)) {
          request.url = `/${page}.html`;
        }
      }
      next();
    });
  },
};

// `<!-- head.html -->` on a line of its own is what `src/html/head.html` says.
const sharedHtml: Plugin = {
  name: "shared-html",
  transformIndexHtml: {
    order: "pre",
    handler: (html) =>
      html.replace(/^( *)<!-- ([a-z]+\.html) -->$/gm, (_, indent: string, name: string) => {
        const shared = readFileSync(new URL(`src/html/${name}`, import.meta.url), "utf8");
        return shared.trimEnd().replace(/^/gm, indent);
      }),
  },
};

export default defineConfig({
  base: "/",
  plugins: [sharedHtml, pageRoutes],
  build: {
    target: "es2022",
    // Everything comes from a file of its own: the server's content security policy allows no
    // inline script and no data: script.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    // dash.js is one file of 1 MB, loaded only when somebody switches to DASH.
    chunkSizeWarningLimit: 1200,
    rollupOptions: { input: ["index.html", "watch.html", "publish.html"] },
  },
  server: {
    proxy: { "/live": origin, "/channels.json": origin, "/time": origin },
  },
});
