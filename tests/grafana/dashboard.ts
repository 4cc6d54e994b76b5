// What a dashboard for Prometheus may hold, made of Grafana's own types.

import type { Dataquery } from '@grafana/grafana-foundation-sdk/prometheus';
import type * as schema from '@grafana/schema/dist/types/raw/dashboard/x/dashboard_types.gen.d.ts';
import type { QueryVariableSpec } from '@grafana/schema/dist/types/schema/dashboard/v2alpha1/types.spec.gen.d.ts';

// As it stands in a file: the values of an enumeration are plain strings there.
type Json<T> = T extends string
  ? `${T}`
  : T extends (infer Item)[]
    ? Json<Item>[]
    : T extends object
      ? { [Key in keyof T]: Json<T[Key]> }
      : T;

type Query = Omit<Dataquery, '_implementsDataqueryVariant'>;

// The data source for Prometheus reads these beside the query (annotations.ts of @grafana/prometheus).
type Annotation = Omit<schema.AnnotationQuery, 'target'> & {
  target: Query;
  tagKeys?: string;
  textFormat?: string;
  titleFormat?: string;
  useValueForTime?: boolean;
};

// Grafana writes the definition, though only the next version of its schema has it.
type Variable = schema.VariableModel & Pick<QueryVariableSpec, 'definition'>;

type Field<Custom> = Omit<schema.FieldConfig, 'custom'> & { custom?: Custom };

/** All but the panels. */
export type Frame = Json<
  Omit<schema.Dashboard, 'annotations' | 'panels' | 'templating'> & {
    annotations: { list: (schema.AnnotationQuery | Annotation)[] };
    templating: { list: Variable[] };
  }
>;

export type Row = Json<schema.RowPanel>;

/** A panel of a plugin that has these options, and these fields of its own. */
export type Panel<Id extends string, Options, Custom> = Json<
  Omit<schema.Panel, 'fieldConfig' | 'options' | 'targets' | 'type'> & {
    type: Id;
    options: Options;
    targets: Query[];
    fieldConfig: Omit<schema.FieldConfigSource, 'defaults'> & { defaults: Field<Custom> };
  }
>;

type At<T, Path extends string> = Path extends `${infer Head}.${infer Rest}`
  ? Head extends keyof T
    ? At<NonNullable<T[Head]>, Rest>
    : never
  : Path extends keyof T
    ? NonNullable<T[Path]>
    : never;

/** The value of a field that an override names, such as `unit` or `custom.lineWidth`. */
export type Override<Custom, Path extends string> = At<Json<Field<Custom>>, Path>;
