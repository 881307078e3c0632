// Who are you: gateway token or API key, and a user id (dashboard.md §4.2).
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'
import { gateway, refusal, signIn } from '../core/gateway.mjs'
import { lastUser } from '../core/prefs.mjs'
import { Icon, reasonOf } from '../ui/parts.mjs'
import { LanguageMenu, Logo, ThemeButton } from '../shell.mjs'

export function SignIn() {
  const busy = gateway.state.value === 'connecting'
  const unreachable = gateway.state.value === 'reconnecting'
  const submit = (event) => {
    event.preventDefault()
    const form = new FormData(event.target)
    signIn(form.get('token').trim(), form.get('user').trim(), form.has('keep'))
  }
  return html`
    <main class="sign-in">
      <form class="card" onSubmit=${submit} aria-labelledby="sign-in-title">
        <${Logo} />
        <h1 id="sign-in-title">${t('signin.title')}</h1>
        <p class="muted mono">${location.host}</p>
        ${refusal.value && html`<p class="form-error" role="alert"><${Icon} name="circle-alert" /> ${reasonOf(refusal.value)}</p>`}
        ${unreachable && html`<p class="form-error" role="alert"><${Icon} name="circle-alert" /> ${t('signin.unreachable')}</p>`}
        <label for="user">${t('signin.user')}</label>
        <input id="user" name="user" required maxlength="255" autocomplete="username" spellcheck=${false}
          defaultValue=${lastUser()} aria-describedby="user-help" />
        <p class="help" id="user-help">${t('signin.user.help')}</p>
        <label for="token">${t('signin.token')}</label>
        <input id="token" name="token" type="password" required autofocus autocomplete="current-password" spellcheck=${false}
          aria-describedby="token-help" aria-invalid=${refusal.value ? 'true' : 'false'} />
        <p class="help" id="token-help">${t('signin.token.help')}</p>
        <label class="check"><input type="checkbox" name="keep" /> ${t('signin.keep')}</label>
        <button class="primary" disabled=${busy}>${busy ? t('signin.busy') : t('signin.submit')}</button>
      </form>
      <p class="sign-in-tools"><${LanguageMenu} /><${ThemeButton} /></p>
    </main>`
}
