// Shows openapi.json: operations by topic, then the types that they speak of.

import { byId, el } from "./dom.js";

const REFERENCE = "#/components/schemas/";

/** The name of the type that a schema refers to, or "". */
const referred = (schema) => (schema?.$ref?.startsWith(REFERENCE) ? schema.$ref.slice(REFERENCE.length) : "");

const code = (text) => el("code", {}, text);

/** What a schema says in a line: type, range, choices; a type of its own becomes a link. */
function typeOf(schema) {
  const name = referred(schema);
  if (name) return [el("a", { href: `#type-${name}` }, code(name))];
  const choices = schema.anyOf ?? schema.oneOf;
  if (choices) return choices.flatMap((choice, i) => (i ? [" or ", ...typeOf(choice)] : typeOf(choice)));
  if (schema.enum) return [code(schema.enum.map((value) => JSON.stringify(value)).join(" | "))];
  if (schema.type === "array") return ["list", countOf(schema.minItems, schema.maxItems), " of ", ...typeOf(schema.items ?? {})];
  if (schema.type === "object" && schema.additionalProperties)
    return ["object", countOf(schema.minProperties, schema.maxProperties), " of name to ", ...typeOf(schema.additionalProperties)];
  return [code(schema.type ?? "any"), rangeOf(schema)];
}

const countOf = (least, most) => (most === undefined ? "" : ` (${least ?? 0} to ${most})`);

function rangeOf(schema) {
  if (schema.maxLength !== undefined) return `, ${schema.minLength ?? 0} to ${schema.maxLength} characters`;
  if (schema.maximum !== undefined) return `, ${schema.minimum ?? "…"} to ${schema.maximum}`;
  return schema.minimum === undefined ? "" : `, from ${schema.minimum}`;
}

/** The text about a schema, its own or that of the one choice that has some. */
const textOf = (schema) =>
  schema.description ?? (schema.anyOf ?? []).map((choice) => choice.description).find(Boolean) ?? "";

function row(name, schema, required) {
  const told = [textOf(schema)];
  if (schema.default !== undefined) told.push(`Default: ${JSON.stringify(schema.default)}.`);
  return el(
    "tr",
    {},
    el("th", { scope: "row" }, code(name), required ? " needed" : ""),
    el("td", {}, ...typeOf(schema)),
    el("td", { class: "told" }, told.filter(Boolean).join(" ")),
  );
}

function table(caption, rows) {
  const head = ["Name", "Type", "What it is"].map((text) => el("th", { scope: "col", class: "vh" }, text));
  return el("table", {}, el("caption", { class: "vh" }, caption), el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...rows));
}

function fieldsOf(name, schema) {
  const needed = new Set(schema.required ?? []);
  return table(name, Object.entries(schema.properties ?? {}).map(([field, of]) => row(field, of, needed.has(field))));
}

function parametersOf(operation) {
  if (!operation.parameters) return [];
  const rows = operation.parameters.map((one) =>
    row(one.name, { ...one.schema, description: `In the ${one.in}. ${one.description ?? ""}` }, one.required),
  );
  return [el("h4", {}, "Parameters"), table("Parameters", rows)];
}

function bodyOf(operation) {
  const contents = Object.entries(operation.requestBody?.content ?? {});
  return contents.flatMap(([type, { schema }]) => [el("h4", {}, `Body, ${type}`), el("p", {}, ...typeOf(schema ?? {}))]);
}

function answersOf(operation) {
  const rows = Object.entries(operation.responses).map(([status, response]) => {
    const types = Object.values(response.content ?? {}).flatMap(({ schema }) => typeOf(schema ?? {}));
    return el("tr", {}, el("th", { scope: "row" }, code(status)), el("td", {}, response.description), el("td", {}, ...types));
  });
  return [el("h4", {}, "Answers"), el("table", {}, el("caption", { class: "vh" }, "Answers"), el("tbody", {}, ...rows))];
}

function shown(path, method, operation) {
  const title = [el("span", { class: "method", "data-method": method }, method.toUpperCase()), code(path)];
  return el(
    "details",
    { id: operation.operationId },
    el("summary", {}, ...title, " ", el("span", { class: "told" }, operation.summary ?? "")),
    ...parametersOf(operation),
    ...bodyOf(operation),
    ...answersOf(operation),
  );
}

function listed(document) {
  const topics = new Map();
  for (const [path, methods] of Object.entries(document.paths))
    for (const [method, operation] of Object.entries(methods)) {
      const topic = operation.tags?.[0] ?? "other";
      topics.set(topic, [...(topics.get(topic) ?? []), [path, method, operation]]);
    }
  return topics;
}

function show(document) {
  byId("title").textContent = `${document.info.title} ${document.info.version}`;
  byId("about").textContent = document.info.description ?? "";
  const [main, contents] = [byId("main"), byId("contents")];
  for (const [topic, operations] of listed(document)) {
    main.append(el("h2", {}, topic), ...operations.map((one) => shown(...one)));
    contents.append(el("p", {}, topic));
    for (const [path, method, operation] of operations)
      contents.append(el("a", { href: `#${operation.operationId}` }, `${method.toUpperCase()} ${path}`));
  }
  main.append(el("h2", {}, "types"));
  for (const [name, schema] of Object.entries(document.components.schemas))
    main.append(
      el(
        "details",
        { id: `type-${name}` },
        el("summary", {}, code(name), " ", el("span", { class: "told" }, schema.description ?? "")),
        fieldsOf(name, schema),
      ),
    );
  main.setAttribute("aria-busy", "false");
}

/** Opens what the address points at. */
function open() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target instanceof HTMLDetailsElement) {
    target.open = true;
    target.scrollIntoView();
  }
}

try {
  const response = await fetch("openapi.json");
  if (!response.ok) throw new Error(`openapi.json: status ${response.status}`);
  show(await response.json());
  addEventListener("hashchange", open);
  open();
} catch (error) {
  byId("main").replaceChildren(el("p", { role: "alert" }, `The description could not be loaded. ${error.message}`));
}
