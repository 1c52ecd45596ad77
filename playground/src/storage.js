/** The keys under which GraphiQL keeps tabs and requests with their headers. */
const WITH_HEADERS = ["graphiql:tabState", "graphiql:queries", "graphiql:favorites"];
const HEADERS = "graphiql:headers";

/** What is kept between visits: everything but headers, which may have a token. */
export const storage = {
  getItem: (key) => localStorage.getItem(key),
  setItem(key, value) {
    if (key !== HEADERS) {
      localStorage.setItem(key, WITH_HEADERS.includes(key) ? withoutHeaders(value) : value);
    }
  },
  removeItem: (key) => localStorage.removeItem(key),
  get length() {
    return localStorage.length;
  },
  clear() {
    Object.keys(localStorage)
      .filter((key) => key.startsWith("graphiql:"))
      .forEach((key) => localStorage.removeItem(key));
  },
};

function withoutHeaders(json) {
  return JSON.stringify(JSON.parse(json), (name, value) => (name === "headers" ? null : value));
}
