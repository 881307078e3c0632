// The frame around every page: header, navigation, connection (dashboard.md §4.1, §4.3).
import { signal, useSignal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { Bell, Count, Notice } from './approvals/notice.mjs'
import { clock } from './core/format.mjs'
import { gateway, may, signOut } from './core/gateway.mjs'
import { html } from './core/html.mjs'
import { chooseLanguage, language, LANGUAGES, t } from './core/i18n.mjs'
import { nextTheme, theme } from './core/prefs.mjs'
import { href, route } from './core/router.mjs'
import { StopBanner } from './stop/banner.mjs'
import { Icon, IconButton, Speaker } from './ui/parts.mjs'

const PAGES = {
  chat: 'message-square', agents: 'bot', sessions: 'list', runs: 'activity', approvals: 'shield-check', cron: 'clock', heartbeats: 'heart-pulse',
  actors: 'network', tools: 'wrench', 'custom-tools': 'square-terminal', hooks: 'link', providers: 'plug', budgets: 'lock', audit: 'scroll-text',
}
const ONLY = { approvals: 'operator', audit: 'admin' } // pages for a role and those above
const THEME_ICONS = { system: 'monitor', light: 'sun', dark: 'moon' }
const STALE_AFTER = 10_000 // ms without a connection before what is shown is marked old

const menuOpen = signal(false)

export const Logo = () => html`
  <svg class="logo" viewBox="0 0 24 24" aria-hidden="true">
    <path d="M5.5 20C3.6 14.2 4.6 8.4 8.2 4M11.6 20.5C9.9 15 10.8 9.4 14 5.2M17.6 20.5C16.3 16.4 16.9 12 19.2 8.6" />
  </svg>`

export const ThemeButton = () =>
  html`<${IconButton} icon=${THEME_ICONS[theme.value]} label=${t(`theme.${theme.value}`)} onClick=${nextTheme} />`

export const LanguageMenu = () => html`
  <label class="language">
    <${Icon} name="languages" /><span class="unseen">${t('language')}</span>
    <select onChange=${(event) => chooseLanguage(event.target.value)}>
      ${Object.entries(LANGUAGES).map(([code, name]) => html`<option key=${code} value=${code} selected=${code === language.value}>${name}</option>`)}
    </select>
  </label>`

export function Shell({ children }) {
  const page = route.value.page
  useEffect(() => {
    menuOpen.value = false
  }, [page])
  const hello = gateway.hello.value
  return html`
    <a class="skip" href="#main">${t('skip')}</a>
    <div class="shell" data-menu=${menuOpen.value ? 'open' : 'closed'}>
      <header class="bar">
        <${IconButton} icon="menu" label=${t('menu')} aria-expanded=${menuOpen.value ? 'true' : 'false'} aria-controls="sidebar"
          class="icon-button menu-button" onClick=${() => (menuOpen.value = !menuOpen.value)} />
        <a class="brand" href=${href('chat')}><${Logo} /><span>GoClaw</span></a>
        <span class="grow"></span>
        <${Bell} />
        <${LanguageMenu} />
        <${ThemeButton} />
        <span class="who" title=${t('signed.in', { user: hello.user_id, role: hello.role })}>
          <${Icon} name="user-round" /><b>${hello.user_id}</b><span class="role">${hello.role}</span>
        </span>
        <${IconButton} icon="log-out" label=${t('signout')} onClick=${signOut} />
      </header>
      <div class="sidebar" id="sidebar">
        <nav aria-label=${t('navigation')}>
          ${Object.entries(PAGES).filter(([name]) => !ONLY[name] || may(ONLY[name])).map(([name, icon]) => html`
            <a key=${name} href=${href(name)} aria-current=${name === page ? 'page' : undefined}><${Icon} name=${icon} />${t(`page.${name}`)}${name === 'approvals' && html`<${Count} />`}</a>`)}
        </nav>
        <${Connection} version=${hello.server?.version} />
      </div>
      <div class="veil" onClick=${() => (menuOpen.value = false)}></div>
      <main id="main" tabindex="-1"><${StopBanner} /><${Banner} />${children}</main>
      <${Notice} />
      <${Speaker} />
    </div>`
}

const Connection = ({ version }) => html`
  <p class="connection" data-state=${gateway.state.value} role="status">
    <i class="dot"></i><span>${t(`connection.${gateway.state.value}`)}</span>
    ${version && html`<span class="version">${version}</span>`}
  </p>`

// One line above the page when it may not be true any more, and what happens next.
function Banner() {
  const now = useSignal(Date.now())
  const since = useSignal(0)
  const state = gateway.state.value
  const away = state === 'reconnecting' || (state === 'connecting' && since.value > 0)
  useEffect(() => {
    if (!away) return undefined
    since.value ||= Date.now()
    const timer = setInterval(() => (now.value = Date.now()), 250)
    return () => clearInterval(timer)
  }, [away])
  useEffect(() => {
    if (state === 'live') since.value = 0
  }, [state])
  const version = document.querySelector('meta[name=goclaw-version]').content
  const served = gateway.hello.value?.server?.version
  if (away && now.value - since.value > 1000) {
    const seconds = Math.max(0, Math.ceil((gateway.retryAt.value - now.value) / 1000))
    const old = now.value - since.value > STALE_AFTER
    return html`<p class="banner warn" role="alert"><${Icon} name="triangle-alert" />
      <span>${t('banner.reconnecting', { seconds })}</span>${old && html` <span>${t('banner.asof', { time: clock(since.value) })}</span>`}</p>`
  }
  if (served && version && served !== version) {
    return html`<p class="banner"><span>${t('banner.version', { version: served })}</span>
      <button type="button" class="quiet" onClick=${() => location.reload()}>${t('reload')}</button></p>`
  }
  if (gateway.hello.value?.role === 'viewer') return html`<p class="banner"><${Icon} name="lock" /><span>${t('banner.viewer')}</span></p>`
  return null
}
