// Holds dashboards against Grafana's own schema, panels and units.
//
//   check FILE...
//
// Prints a line of JSON for each file: the version of the schema, how many panels were looked at, and
// the faults. The schema is there as TypeScript's types, so each part of a dashboard becomes a constant
// of its type, and the compiler judges: missing, misspelt and wrong keys and values are its errors.

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const require = createRequire(import.meta.url);
const here = dirname(fileURLToPath(import.meta.url));
const modules = join(here, 'node_modules');

// The library is written for a browser: react-use must be told first that there is none, and the rest
// wants one to hang a listener on.
require('react-use');
globalThis.window = { addEventListener() {} };
const { fieldMatchers, fieldReducers, getValueFormats } = require('@grafana/data');

const units = new Set(getValueFormats().flatMap((category) => category.submenu.map((unit) => unit.value)));
const reducers = new Set(fieldReducers.list().map((reducer) => reducer.id));
const matchers = new Set(fieldMatchers.list().map((matcher) => matcher.id));

const { version } = require('@grafana/schema/package.json');
if (require('@grafana/data/package.json').version !== version) {
  throw new Error('@grafana/data and @grafana/schema are of two versions');
}

// The folder of each panel that the schema has, by the name that a dashboard calls it by. The schema
// does not say that name; the SDK does.
function panelFolders() {
  const sdk = '@grafana/grafana-foundation-sdk';
  const folders = new Map();
  for (const name of readdirSync(join(modules, sdk, 'dist'))) {
    const { PanelBuilder } = existsSync(join(modules, sdk, 'dist', name, 'panelBuilder.gen.js'))
      ? require(`${sdk}/${name}`)
      : {};
    const folder = join(modules, '@grafana/schema/dist/types/raw/composable', name, 'panelcfg/x');
    if (PanelBuilder && existsSync(folder)) {
      folders.set(new PanelBuilder().build().type, folder);
    }
  }
  return folders;
}

const folders = panelFolders();

// The types of a panel's options and of its own fields. Where the schema has none, there is nothing to
// be set.
function typesOf(panel) {
  const folder = folders.get(panel.type);
  const [file] = readdirSync(folder).filter((name) => name.endsWith('.d.ts'));
  const text = readFileSync(join(folder, file), 'utf8');
  const path = JSON.stringify(join(folder, file));
  const type = (name) => (text.includes(`export interface ${name} `) ? `import(${path}).${name}` : 'never');
  return { options: type('Options'), custom: type('FieldConfig') };
}

// Parts of a dashboard, each with what it is called in a fault, its type and its value.
function partsOf(dashboard) {
  const { panels, ...frame } = dashboard;
  const parts = [{ what: 'dashboard', type: 'Frame', value: frame }];
  for (const panel of panels) {
    const what = `panel "${panel.title}"`;
    if (panel.type === 'row') {
      parts.push({ what, type: 'Row', value: panel });
    } else if (folders.has(panel.type)) {
      const { options, custom } = typesOf(panel);
      const id = JSON.stringify(panel.type);
      parts.push({ what, type: `Panel<${id}, ${options}, ${custom}>`, value: panel });
      for (const { id, value } of panel.fieldConfig.overrides.flatMap((override) => override.properties)) {
        parts.push({ what: `${what}, override ${id}`, type: `Override<${custom}, ${JSON.stringify(id)}>`, value });
      }
    }
  }
  return parts;
}

// Calls `visit` with each key and value, however deep.
function walk(value, visit) {
  if (value === null || typeof value !== 'object') {
    return;
  }
  for (const [key, inner] of Object.entries(value)) {
    visit(key, inner);
    walk(inner, visit);
  }
}

// Names that the schema takes for any string, and that Grafana knows a list of.
function unknownNames(panel) {
  const faults = [];
  const known = (kind, name, names) => names.has(name) || faults.push(`there is no ${kind} ${name}`);
  if (panel.type === 'row') {
    return faults;
  }
  known('panel', panel.type, new Set(folders.keys()));
  walk(panel, (key, value) => {
    if (key === 'unit') {
      known('unit', value, units);
    } else if (key === 'calcs') {
      value.forEach((name) => known('calculation', name, reducers));
    }
  });
  for (const { matcher, properties } of panel.fieldConfig.overrides) {
    known('matcher', matcher.id, matchers);
    properties.filter(({ id }) => id === 'unit').forEach(({ value }) => known('unit', value, units));
  }
  return faults.map((fault) => `panel "${panel.title}": ${fault}`);
}

const header = "import type { Frame, Override, Panel, Row } from './dashboard';\n";

// A source file, and where in it each part begins.
function sourceOf(parts) {
  let text = header;
  const starts = [];
  parts.forEach(({ type, value }, index) => {
    starts.push(text.length);
    text += `export const part${index}: ${type} = ${JSON.stringify(value, null, 1)};\n`;
  });
  return { text, starts };
}

function compile(sources) {
  const options = {
    strict: true,
    exactOptionalPropertyTypes: true,
    noEmit: true,
    skipLibCheck: true,
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.ESNext,
    moduleResolution: ts.ModuleResolutionKind.Bundler,
    types: [],
  };
  const host = ts.createCompilerHost(options);
  const { fileExists, getSourceFile } = host;
  host.fileExists = (name) => sources.has(name) || fileExists(name);
  host.getSourceFile = (name, target, ...rest) =>
    sources.has(name) ? ts.createSourceFile(name, sources.get(name).text, target) : getSourceFile(name, target, ...rest);
  const types = join(here, 'dashboard.ts');
  const program = ts.createProgram([types, ...sources.keys()], options, host);
  const own = [...program.getOptionsDiagnostics(), ...ts.getPreEmitDiagnostics(program, program.getSourceFile(types))];
  if (own.length > 0) {
    throw new Error(own.map((one) => ts.flattenDiagnosticMessageText(one.messageText, '\n')).join('\n'));
  }
  return program;
}

const files = process.argv.slice(2);
const dashboards = files.map((file) => JSON.parse(readFileSync(file, 'utf8')));
const parts = dashboards.map(partsOf);
const names = files.map((_, index) => join(here, `part${index}.ts`));
const sources = new Map(names.map((name, index) => [name, sourceOf(parts[index])]));
const program = compile(sources);

for (const [index, name] of names.entries()) {
  const { starts } = sources.get(name);
  const wrong = ts.getPreEmitDiagnostics(program, program.getSourceFile(name)).map((one) => {
    const at = starts.findLastIndex((start) => start <= one.start);
    const what = at < 0 ? 'types' : parts[index][at].what;
    return `${what}: ${ts.flattenDiagnosticMessageText(one.messageText, ' ').slice(0, 600)}`;
  });
  const unknown = dashboards[index].panels.flatMap(unknownNames);
  const panels = dashboards[index].panels.filter((panel) => panel.type !== 'row').length;
  console.log(JSON.stringify({ version, panels, faults: [...wrong, ...unknown] }));
}
