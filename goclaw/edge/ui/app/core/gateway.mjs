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

// GET `path` with query `params`. Rejects with Refusal; `signal` aborts.
export async function get(path, params = {}, signal) {
  const url = new URL(path, location.origin)
  for (const [name, value] of Object.entries(params)) url.searchParams.set(name, value)
  const headers = { 'Accept-Language': language.value, 'X-GoClaw-User-Id': who.userId || gateway.hello.value?.user_id || '' }
  if (who.token) headers.Authorization = `Bearer ${who.token}`
  const answer = await fetch(url, { headers, signal, cache: 'no-store' })
  if (answer.ok) return answer.json()
  const body = await answer.json().catch(() => ({}))
  throw new Refusal({ code: body.code ?? String(answer.status), message: body.error ?? '', details: body.details })
}
