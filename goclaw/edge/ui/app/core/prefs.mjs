// What this browser remembers: theme, language, who signed in. Every tab hears of a log out.
import { signal } from '@preact/signals'

const THEMES = ['system', 'light', 'dark']
const CREDENTIAL = 'goclaw.credential'
const tabs = new BroadcastChannel('goclaw')

export const theme = signal(localStorage.getItem('goclaw.theme') ?? 'system')

export function nextTheme() {
  theme.value = THEMES[(THEMES.indexOf(theme.value) + 1) % THEMES.length]
  if (theme.value === 'system') {
    localStorage.removeItem('goclaw.theme')
    delete document.documentElement.dataset.theme
  } else {
    localStorage.setItem('goclaw.theme', theme.value)
    document.documentElement.dataset.theme = theme.value
  }
}

// {token, userId}; an empty token is tried too, because a gateway without one lets everybody in (dashboard.md §4.2).
export function credential() {
  const stored = sessionStorage.getItem(CREDENTIAL) ?? localStorage.getItem(CREDENTIAL)
  return stored ? JSON.parse(stored) : { token: '', userId: lastUser() }
}

export function keepCredential(token, userId, onThisDevice) {
  localStorage.setItem('goclaw.user', userId)
  const store = onThisDevice ? localStorage : sessionStorage
  store.setItem(CREDENTIAL, JSON.stringify({ token, userId }))
}

export function forgetCredential() {
  sessionStorage.removeItem(CREDENTIAL)
  localStorage.removeItem(CREDENTIAL)
}

export const lastUser = () => localStorage.getItem('goclaw.user') ?? 'system' // the installation's own user

export const tellTabs = (news) => tabs.postMessage(news)
export const onTabs = (hear) => (tabs.onmessage = ({ data }) => hear(data))

// Drafts survive a reload and a lost gateway, one per session.
export const draft = (session) => sessionStorage.getItem(`goclaw.draft.${session}`) ?? ''
export function keepDraft(session, text) {
  const key = `goclaw.draft.${session}`
  if (text) sessionStorage.setItem(key, text)
  else sessionStorage.removeItem(key)
}
