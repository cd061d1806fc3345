/** The OpenAPI 3.1 document of the API, generated from the routes and their schemas. */
import * as z from 'zod'
import type { Route } from './route-makers.ts'
import { routes } from './routes.ts'
import { namedSchemas } from './schemas.ts'

type JsonObject = Record<string, unknown>

/** @param version of the program */
export function openApiDocument(version: string): JsonObject {
  const paths: Record<string, JsonObject> = {
    '/v1/openapi.json': { get: { operationId: 'openapi', summary: 'This document', responses: { 200: { description: 'OpenAPI 3.1' } } } }
  }
  for (const r of routes) paths[r.path] = { ...paths[r.path], [r.method.toLowerCase()]: operation(r) }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Kith node',
      version,
      description: 'The local API of a running node. Loopback only; url and token are in api.json in the state folder of the home.'
    },
    security: [{ token: [] }],
    paths,
    components: { securitySchemes: { token: { type: 'http', scheme: 'bearer' } }, schemas: components() }
  }
}

function operation(route: Route): JsonObject {
  const responses: Record<string, JsonObject> = {}
  for (const [status, schema] of Object.entries(route.answers)) {
    const type = route.streams ? 'application/x-ndjson' : 'application/json'
    responses[status] = { description: route.summary, ...(schema ? { content: { [type]: { schema: reference(schema) } } } : {}) }
  }
  responses['default'] = { description: 'What went wrong', content: { 'application/problem+json': { schema: ref('Problem') } } }
  const parameters = [
    ...[...route.path.matchAll(/\{(\w+)\}/g)].map(m => ({ name: m[1], in: 'path', required: true, schema: { type: 'string' } })),
    ...(route.streams ? [{ name: 'download', in: 'query', required: false, schema: { type: 'string' } }] : [])
  ]
  return {
    operationId: route.name,
    summary: route.summary,
    ...(parameters.length > 0 ? { parameters } : {}),
    ...(route.body ? { requestBody: { required: true, content: { 'application/json': { schema: reference(route.body) } } } } : {}),
    responses
  }
}

const nameOf = new Map(Object.entries(namedSchemas).map(([name, schema]) => [schema, name]))
const ref = (name: string): JsonObject => ({ $ref: `#/components/schemas/${name}` })

function reference(schema: z.ZodType): JsonObject {
  const name = nameOf.get(schema)
  if (name) return ref(name)
  if (schema instanceof z.ZodArray) return { type: 'array', items: reference(schema.element as z.ZodType) }
  return plain(z.toJSONSchema(schema))
}

function components(): Record<string, JsonObject> {
  const registry = z.registry<{ id: string }>()
  for (const [id, schema] of Object.entries(namedSchemas)) registry.add(schema, { id })
  const { schemas } = z.toJSONSchema(registry, { uri: id => `#/components/schemas/${id}` })
  return Object.fromEntries(Object.entries(schemas).map(([id, schema]) => [id, plain(schema)]))
}

/** In OpenAPI 3.1 the dialect is stated once, and a component is named by its place. */
function plain(schema: object): JsonObject {
  const { $schema: _dialect, $id: _id, ...rest } = schema as JsonObject
  return rest
}
