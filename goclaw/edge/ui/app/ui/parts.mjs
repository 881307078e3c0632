// Small pieces every page uses: icons, the three states of a list, spoken news, times that stay fresh.
import { signal } from '@preact/signals'
import { useEffect, useState } from 'preact/hooks'
import { ago, fullTime } from '../core/format.mjs'
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'

const SPRITE = new URL('../../icons.svg', import.meta.url).pathname

export const Icon = ({ name }) => html`<svg class="icon" aria-hidden="true"><use href="${SPRITE}#${name}" /></svg>`

export const IconButton = ({ icon, label, ...rest }) =>
  html`<button type="button" class="icon-button" aria-label=${label} title=${label} ...${rest}><${Icon} name=${icon} /></button>`

export const Empty = ({ title, hint, children }) =>
  html`<div class="empty"><p class="empty-title">${title}</p>${hint && html`<p>${hint}</p>`}${children}</div>`

export const reasonOf = ({ code, message, details }) => {
  const known = ['connection_lost', 'no_answer', 'bad_credential', 'expired', 'revoked', 'unauthenticated']
  if (known.includes(details?.reason)) return t(`refused.${details.reason}`)
  return message || t('refused.unknown', { code })
}

export const Trouble = ({ error, retry }) => html`
  <div class="trouble" role="alert">
    <${Icon} name="circle-alert" />
    <p>${reasonOf(error)} <code>${error.code}</code></p>
    ${retry && html`<button type="button" onClick=${retry}>${t('retry')}</button>`}
  </div>`

// Shown after a moment only, so that a fast answer does not flicker (dashboard.md §5.1).
export const Skeleton = ({ rows = 6 }) => html`
  <div class="skeleton" aria-hidden="true">${Array.from({ length: rows }, (_, i) => html`<i key=${i} />`)}</div>`

export function Ago({ at }) {
  const [, again] = useState(0)
  useEffect(() => {
    const timer = setInterval(() => again((n) => n + 1), 30_000)
    return () => clearInterval(timer)
  }, [])
  return html`<time datetime=${new Date(at).toISOString()} title=${fullTime(at)}>${ago(at)}</time>`
}

const spoken = signal('')
export const say = (text) => (spoken.value = text)
export const Speaker = () => html`<div class="unseen" role="status" aria-live="polite">${spoken}</div>`
