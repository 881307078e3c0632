// Opens the dashboard: language, connection, then the page of the address; pages load on demand.
import { signal } from '@preact/signals'
import { render } from 'preact'
import { useEffect } from 'preact/hooks'
import { pending } from './approvals/pending.mjs'
import { enter, gateway, signedOut } from './core/gateway.mjs'
import { html } from './core/html.mjs'
import { language, startLanguage, t } from './core/i18n.mjs'
import { go, route } from './core/router.mjs'
import { nextTheme } from './core/prefs.mjs'
import { SignIn } from './pages/signin.mjs'
import { Shell } from './shell.mjs'
import { Empty, Skeleton } from './ui/parts.mjs'

const PAGES = {
  chat: () => import('./pages/chat.mjs'),
  agents: () => import('./pages/agents.mjs'),
  sessions: () => import('./pages/sessions.mjs'),
  approvals: () => import('./pages/approvals.mjs'),
  cron: () => import('./pages/cron.mjs'),
  heartbeats: () => import('./pages/heartbeats.mjs'),
  tools: () => import('./pages/tools.mjs'),
  'custom-tools': () => import('./pages/custom-tools.mjs'),
  hooks: () => import('./pages/hooks.mjs'),
  providers: () => import('./pages/providers.mjs'),
  budgets: () => import('./pages/budgets.mjs'),
  audit: () => import('./pages/audit.mjs'),
  runs: () => import('./pages/runs.mjs'),
  actors: () => import('./pages/actors.mjs'),
}
const loaded = signal({})

function Page() {
  const name = route.value.page
  const known = name in PAGES
  useEffect(() => {
    if (known && !loaded.value[name]) PAGES[name]().then((module) => (loaded.value = { ...loaded.value, [name]: module.default }))
  }, [name])
  useEffect(() => {
    const main = document.getElementById('main')
    if (!main.contains(document.activeElement)) main.focus()
  }, [name])
  useEffect(() => {
    document.title = `${pending.value.length ? `(${pending.value.length}) ` : ''}${known ? t(`page.${name}`) : t('page.unknown')} – GoClaw`
  }, [name, language.value, pending.value.length])
  if (!known) return html`<${Empty} title=${t('page.unknown')} hint=${t('page.unknown.hint')} />`
  const Loaded = loaded.value[name]
  return Loaded ? html`<${Loaded} />` : html`<${Skeleton} />`
}

function App() {
  if (signedOut.value) return html`<${SignIn} />`
  if (!gateway.hello.value) return html`<div class="boot" role="status">${t(`connection.${gateway.state.value}`)}</div>`
  return html`<${Shell}><${Page} /><//>`
}

// g then a letter goes to a page, t changes the theme; never while typing (dashboard.md §16).
const JOURNEYS = { c: 'chat', s: 'sessions', r: 'runs', x: 'actors' }
let leader = 0
addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest('input, textarea, select, dialog')) return
  if (Date.now() - leader < 1000 && event.key in JOURNEYS) {
    event.stopImmediatePropagation()
    go(JOURNEYS[event.key])
  } else if (event.key === 't') nextTheme()
  leader = event.key === 'g' ? Date.now() : 0
}, true)

await startLanguage()
enter()
render(html`<${App} />`, document.getElementById('app'))
