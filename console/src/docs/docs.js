// Draws the API's description. Texts are only ever set as text, never as markup.
"use strict";

const METHODS = ["get", "post", "put", "patch", "delete"];
let documentOfApi;

function element(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) made.setAttribute(name, value);
  made.append(...children.filter((child) => child !== undefined && child !== null));
  return made;
}

// Paragraphs with `code` and **bold**, which is all the description uses.
function prose(text) {
  const parts = element("div");
  for (const paragraph of (text ?? "").split(/\n\n+/).filter(Boolean)) {
    const made = element("p");
    for (const piece of paragraph.split(/(`[^`]+`|\*\*[^*]+\*\*)/)) {
      if (piece.startsWith("`")) made.append(element("code", {}, piece.slice(1, -1)));
      else if (piece.startsWith("**")) made.append(element("strong", {}, piece.slice(2, -2)));
      else made.append(piece);
    }
    parts.append(made);
  }
  return parts;
}

function nameOf(schema) {
  return schema?.$ref?.split("/").pop();
}

function resolve(schema) {
  const name = nameOf(schema);
  return name ? documentOfApi.components.schemas[name] : schema;
}

// What a value is, in a few words.
function kind(schema) {
  if (!schema) return "any";
  const name = nameOf(schema);
  if (name) return name;
  if (schema.oneOf) return schema.oneOf.map(kind).join(" or ");
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  const types = [schema.type].flat().filter(Boolean);
  if (types.includes("array")) return `list of ${kind(schema.items)}`;
  const bounds = [
    schema.format,
    schema.minimum !== undefined || schema.maximum !== undefined ? `${schema.minimum ?? ""}..${schema.maximum ?? ""}` : undefined,
    schema.maxLength !== undefined ? `at most ${schema.maxLength} characters` : undefined,
  ].filter(Boolean);
  return (types.join(" or ") || "any") + (bounds.length ? ` (${bounds.join(", ")})` : "");
}

// The fields of a schema, each opened on demand, so that recursion never runs away.
function fields(schema) {
  const resolved = resolve(schema);
  if (!resolved) return element("p", { class: "quiet" }, "any");
  const made = element("div", { class: "schema" });
  if (resolved.description) made.append(prose(resolved.description));
  for (const part of resolved.allOf ?? []) made.append(fields(part));
  for (const choice of resolved.oneOf ?? []) {
    if (choice.type === "null") continue;
    const tag = Object.entries(choice.properties ?? {}).find(([, property]) => property.enum?.length === 1);
    made.append(opened(tag ? `${tag[0]}: ${JSON.stringify(tag[1].enum[0])}` : kind(choice), choice));
  }
  if (resolved.enum) made.append(element("p", {}, kind(resolved)));
  if (resolved.items) made.append(opened(`each: ${kind(resolved.items)}`, resolved.items));
  const properties = Object.entries(resolved.properties ?? {});
  if (properties.length) {
    const rows = properties.map(([name, property]) => {
      const needed = (resolved.required ?? []).includes(name);
      const inner = deeper(property);
      return element("tr", {},
        element("td", {}, element("code", {}, name), needed ? element("span", { title: "required" }, " *") : ""),
        element("td", {}, inner ? opened(kind(property), inner) : element("span", { class: "quiet" }, kind(property)), prose(property.description)));
    });
    made.append(element("table", {}, element("thead", {}, element("tr", {}, element("th", {}, "field (* required)"), element("th", {}, "what it is"))),
      element("tbody", {}, ...rows)));
  }
  return made;
}

// The schema inside a property that is worth opening.
function deeper(property) {
  if (nameOf(property)) return property;
  if (property.items) return deeper(property.items);
  if (property.oneOf) return property.oneOf.map(deeper).find(Boolean);
  return property.properties ? property : undefined;
}

function opened(title, schema) {
  const details = element("details", {}, element("summary", {}, title));
  details.addEventListener("toggle", () => {
    if (details.open && details.childElementCount === 1) details.append(fields(schema));
  });
  return details;
}

// An example value of a schema: its own, or one made of its parts.
function example(schema, depth = 0) {
  if (!schema || depth > 6) return null;
  if (schema.example !== undefined) return schema.example;
  const resolved = resolve(schema);
  if (resolved.example !== undefined) return resolved.example;
  if (resolved.default !== undefined) return resolved.default;
  if (resolved.enum) return resolved.enum[0];
  if (resolved.oneOf) return example(resolved.oneOf.find((choice) => choice.type !== "null"), depth + 1);
  if (resolved.properties) {
    const needed = resolved.required?.length ? resolved.required : Object.keys(resolved.properties);
    return Object.fromEntries(needed.map((name) => [name, example(resolved.properties[name], depth + 1)]));
  }
  const type = [resolved.type].flat()[0];
  return { string: "text", integer: 1, number: 1, boolean: true, array: [], object: {} }[type] ?? null;
}

function curl(method, path, operation) {
  const root = new URL(".", location.href).href.replace(/\/$/, "");
  const filled = path.replace(/\{(\w+)\}/g, (_, name) => {
    const parameter = (operation.parameters ?? []).find((candidate) => candidate.name === name);
    return parameter?.example ?? { group: "101-1-2-6601", job: "1", run: "RUN_ID", user: "ann", token: "1", server: "server-1" }[name] ?? name;
  });
  const query = (operation.parameters ?? []).filter((parameter) => parameter.in === "query" && parameter.required)
    .map((parameter) => `${parameter.name}=${encodeURIComponent(example(parameter.schema))}`).join("&");
  const lines = [`curl -sS ${method === "get" ? "" : `-X ${method.toUpperCase()} `}'${root}${filled}${query ? `?${query}` : ""}'`];
  if (operation.security?.length) lines.push(`-H "Authorization: Bearer $CARILLON_TOKEN"`);
  if ((operation.parameters ?? []).some((parameter) => parameter.name === "If-Match")) lines.push(`-H 'If-Match: "1"'`);
  const [type, content] = Object.entries(operation.requestBody?.content ?? {})[0] ?? [];
  if (type) {
    lines.push(`-H 'Content-Type: ${type}'`);
    lines.push(`-d '${JSON.stringify(example(content.schema)).replaceAll("'", "'\\''")}'`);
  }
  return lines.join(" \\\n  ");
}

function parameters(operation) {
  if (!operation.parameters?.length) return undefined;
  const rows = operation.parameters.map((parameter) => element("tr", {},
    element("td", {}, element("code", {}, parameter.name), parameter.required ? " *" : ""),
    element("td", {}, parameter.in),
    element("td", {}, element("span", { class: "quiet" }, kind(parameter.schema)), prose(parameter.description))));
  return element("div", {}, element("h4", {}, "Parameters"),
    element("table", {}, element("thead", {}, element("tr", {}, element("th", {}, "name"), element("th", {}, "in"), element("th", {}, "what it is"))),
      element("tbody", {}, ...rows)));
}

function answers(operation) {
  const list = element("div", {}, element("h4", {}, "Answers"));
  for (const [status, given] of Object.entries(operation.responses)) {
    const response = given.$ref ? documentOfApi.components.responses[given.$ref.split("/").pop()] : given;
    const schema = Object.values(response.content ?? {})[0]?.schema;
    const title = `${status} ${response.description ?? ""}`;
    list.append(schema ? opened(title, schema) : element("p", {}, title));
  }
  return list;
}

function article(path, method, operation) {
  const body = Object.values(operation.requestBody?.content ?? {})[0];
  return element("article", { id: operation.operationId },
    element("h3", {}, operation.summary ?? operation.operationId),
    element("span", { class: "signature" }, element("span", { class: `method ${method}` }, method.toUpperCase()), element("span", { class: "path" }, path)),
    prose(operation.description),
    parameters(operation),
    body && element("h4", {}, "Body"),
    body && opened(kind(body.schema), body.schema),
    answers(operation),
    element("h4", {}, "Example"),
    element("pre", { tabindex: "0" }, curl(method, path, operation)));
}

function draw() {
  const main = document.getElementById("operations");
  const links = document.getElementById("links");
  main.replaceChildren(element("h1", {}, documentOfApi.info.title), prose(documentOfApi.info.description));
  for (const tag of documentOfApi.tags) {
    const section = element("section", { class: "group" }, element("h2", {}, tag.name), prose(tag.description));
    const list = element("ul");
    for (const [path, item] of Object.entries(documentOfApi.paths)) {
      for (const method of METHODS.filter((candidate) => item[candidate]?.tags?.includes(tag.name))) {
        section.append(article(path, method, item[method]));
        list.append(element("li", {}, element("a", { href: `#${item[method].operationId}`, title: `${method.toUpperCase()} ${path}` },
          item[method].summary ?? path)));
      }
    }
    main.append(section);
    links.append(element("h2", {}, tag.name), list);
  }
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

function filter(text) {
  const wanted = text.trim().toLowerCase();
  for (const link of document.querySelectorAll("#links li")) {
    const shown = (link.textContent + link.firstChild.title).toLowerCase().includes(wanted);
    link.hidden = !shown;
    document.getElementById(link.firstChild.getAttribute("href").slice(1)).hidden = !shown;
  }
}

async function start() {
  try {
    const response = await fetch("api/v1/openapi.json");
    if (!response.ok) throw new Error(`the console answered ${response.status}`);
    documentOfApi = await response.json();
    draw();
  } catch (error) {
    document.getElementById("state").textContent = `The description could not be read: ${error.message}`;
    return;
  }
  document.getElementById("filter").addEventListener("input", (event) => filter(event.target.value));
}

start();
