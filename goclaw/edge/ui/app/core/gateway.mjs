// The signed-in person's connection: one socket, one HTTP getter, one place that knows the credential.
import { effect, signal } from '@preact/signals'
import { language } from './i18n.mjs'
import { credential, forgetCredential, keepCredential, onTabs, tellTabs } from './prefs.mjs'
import { Gateway, Refusal } from './ws.mjs'

export const refusal = signal(null) // why the last sign-in ended; shown by the form
export const signedOut = signal(false) // the form is due

const address = new URL('/ws', location.href)
address.protocol = address.protocol.replace('http', 'ws')
export const gateway = new Gateway(address)

let who = credential()

export function enter() {
  refusal.value = null
  gateway.open({ token: who.token, user_id: who.userId, locale: language.value }, refused)
}

export function signIn(token, userId, onThisDevice) {
  who = { token, userId }
  keepCredential(token, userId, onThisDevice)
  enter()
}

export function signOut() {
  leave(null)
  tellTabs('signed out')
}

function refused(error) {
  // The first, empty try is a question ("is this dev mode?"), its refusal is no news for the user.
  leave(who.token || error.details.reason !== 'unauthenticated' ? error : null)
}

function leave(error) {
  gateway.close()
  forgetCredential()
  who = credential()
  refusal.value = error
  signedOut.value = true
}

onTabs((news) => news === 'signed out' && leave(null))
effect(() => {
  if (gateway.hello.value) signedOut.value = false
})

// GET `path` with query `params`: the answer's JSON. Rejects with Refusal; `signal` aborts.
export const get = async (path, params, signal) => (await request('GET', path, { params, signal })).json()

// POST `body` as JSON: the answer's JSON.
export const post = async (path, body = {}, signal) => (await request('POST', path, { body, signal })).json()

// The response itself, for streams and plain text; only when its status is ok.
export async function request(method, path, { params = {}, body, signal, accept = 'application/json' } = {}) {
  const url = new URL(path, location.origin)
  for (const [name, value] of Object.entries(params)) if (value !== '' && value != null) url.searchParams.set(name, value)
  const headers = { Accept: accept, 'Accept-Language': language.value, 'X-GoClaw-User-Id': who.userId || gateway.hello.value?.user_id || '' }
  if (who.token) headers.Authorization = `Bearer ${who.token}`
  if (body) headers['Content-Type'] = 'application/json'
  const answer = await fetch(url, { method, headers, body: body && JSON.stringify(body), signal, cache: 'no-store' })
  if (answer.ok) return answer
  const refused = await answer.json().catch(() => ({}))
  throw new Refusal({ code: refused.code ?? String(answer.status), message: refused.error ?? '', details: refused.details })
}

const RANK = ['viewer', 'operator', 'admin']
export const may = (role) => RANK.indexOf(gateway.hello.value?.role) >= RANK.indexOf(role)
